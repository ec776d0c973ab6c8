"""Losses with vectors of their own, one sample, class and vector at a time."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.losses.classes.arcface import ArcFaceLoss
from metriscope.objectives.losses.classes.center_contrastive import CenterContrastiveLoss
from metriscope.objectives.losses.classes.cosface import CosFaceLoss
from metriscope.objectives.losses.classes.cross_entropy import CrossEntropyLoss
from metriscope.objectives.losses.classes.large_margin_softmax import LargeMarginSoftmaxLoss
from metriscope.objectives.losses.classes.normalized_softmax import NormalizedSoftmaxLoss
from metriscope.objectives.losses.classes.pcr import PCRLoss
from metriscope.objectives.losses.classes.proxy_anchor import ProxyAnchorLoss
from metriscope.objectives.losses.classes.proxy_nca import ProxyNCALoss
from metriscope.objectives.losses.classes.soft_triple import SoftTripleLoss
from metriscope.objectives.losses.classes.sphereface import SphereFaceLoss
from metriscope.objectives.losses.classes.sub_center_arcface import SubCenterArcFaceLoss
from metriscope.objectives.samples import Samples

CLASSES, SIZE = 5, 4
# Labels of a batch, by what is special about it; -1 and 99 are no class of the loss.
LAYOUTS: dict[str, list[int]] = {
    "all classes": [0, 1, 2, 3, 4, 4, 3, 2, 1, 0],
    "uneven, with a singleton": [3, 3, 3, 3, 1, 1, 0],
    "one class": [4] * 4,
    "all singletons": [2, 0, 1],
    "one sample": [3],
    "strangers among them": [1, -1, 1, 99, 0],
    "strangers only": [-1, 5],
}


class Found(NamedTuple):
    """What an oracle finds."""

    value: Tensor
    terms: int


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b) / (a @ a).sqrt() / (b @ b).sqrt()


def mean(terms: list[Tensor], z: Tensor) -> Found:
    return Found(torch.stack(terms).mean() if terms else z.sum() * 0, len(terms))


def softmax_term(scores: list[Tensor], y: int) -> Tensor:
    return -(scores[y].exp() / sum(s.exp() for s in scores)).log()


def known(z: Tensor, labels: list[int]) -> list[tuple[Tensor, int]]:
    return [(x, y) for x, y in zip(z, labels, strict=True) if 0 <= y < CLASSES]


def with_margin(move: Callable[[Tensor], Tensor], scale: float, per_class: int = 1) -> Any:
    """A mean of softmax terms, the own score moved, each score the largest of ``per_class`` cosines."""

    def oracle(z: Tensor, vectors: Tensor, labels: list[int]) -> Found:
        terms = []
        for x, y in known(z, labels):
            scores = []
            for c in range(CLASSES):
                best = max(
                    (cosine(x, vectors[k * CLASSES + c]) for k in range(per_class)), key=lambda s: float(s.detach())
                )
                scores.append(scale * (move(best) if c == y else best))
            terms.append(softmax_term(scores, y))
        return mean(terms, z)

    return oracle


def angle_moved(cosine: Tensor) -> Tensor:
    theta = cosine.acos()
    return (theta + 0.5).cos() if theta <= math.pi - 0.5 else cosine - 0.5 * math.sin(0.5)


def multiplied_angle(m: int, scale: float, unit: bool) -> Any:
    """Softmax terms of |x| |w| cos(theta), or of |x| cos(theta), the own angle taken m times."""

    def oracle(z: Tensor, vectors: Tensor, labels: list[int]) -> Found:
        terms = []
        for x, y in known(z, labels):
            scores = []
            for c, vector in enumerate(vectors):
                theta = cosine(x, vector).acos()
                k = int(float(theta.detach()) * m / math.pi)
                own = (-1) ** k * (m * theta).cos() - 2 * k
                lengths = x.norm() * (1 if unit else vector.norm())
                scores.append(scale * lengths * (own if c == y else theta.cos()))
            terms.append(softmax_term(scores, y))
        return mean(terms, z)

    return oracle


def proxy_nca(temperature: float, include_positive: bool) -> Any:
    def oracle(z: Tensor, vectors: Tensor, labels: list[int]) -> Found:
        terms = []
        for x, y in known(z, labels):
            d = [((x / x.norm() - v / v.norm()) ** 2).sum() for v in vectors]
            among = [(-d[c] / temperature).exp() for c in range(CLASSES) if include_positive or c != y]
            terms.append(-((-d[y] / temperature).exp() / sum(among)).log())
        return mean(terms, z)

    return oracle


def proxy_anchor(z: Tensor, vectors: Tensor, labels: list[int]) -> Found:
    pulls, pushes = [], []
    for c in range(CLASSES):
        pull = [(-8 * (cosine(x, vectors[c]) - 0.1)).exp() for x, y in known(z, labels) if y == c]
        push = [(8 * (cosine(x, vectors[c]) + 0.1)).exp() for x, y in known(z, labels) if y != c]
        pulls += [(1 + sum(pull)).log()] if pull else []
        pushes += [(1 + sum(push)).log()] if push else []
    value = z.sum() * 0 + sum(pulls) / max(1, len(pulls)) + sum(pushes) / CLASSES
    return Found(value, len(pulls) + len(pushes))


def soft_triple(regularizer_weight: float, K: int) -> Any:
    def oracle(z: Tensor, vectors: Tensor, labels: list[int]) -> Found:
        terms = []
        for x, y in known(z, labels):
            scores = []
            for c in range(CLASSES):
                s = [cosine(x, vectors[k * CLASSES + c]) for k in range(K)]
                shares = [(a / 0.1).exp() / sum((b / 0.1).exp() for b in s) for a in s]
                relaxed = sum(q * a for q, a in zip(shares, s, strict=True))
                scores.append(20 * (relaxed - 0.01 * (c == y)))
            terms.append(softmax_term(scores, y))
        value, count = mean(terms, z)
        for c in range(CLASSES):
            for t in range(K):
                for k in range(t + 1, K):
                    apart = (2 - 2 * cosine(vectors[t * CLASSES + c], vectors[k * CLASSES + c])).sqrt()
                    value = value + (count > 0) * regularizer_weight * apart / (CLASSES * K * (K - 1))
        return Found(value, count)

    return oracle


def contrastive_replay(z: Tensor, vectors: Tensor, labels: list[int]) -> Found:
    """The own class against that of each sample."""
    terms = []
    for x, y in known(z, labels):
        among = sum((5 * cosine(x, vectors[c])).exp() for _, c in known(z, labels))
        terms.append(-((5 * cosine(x, vectors[y])).exp() / among).log())
    return mean(terms, z)


def center_contrastive(z: Tensor, vectors: Tensor, labels: list[int]) -> Found:
    contrast, count = with_margin(lambda s: s - 0.1, 16)(z, vectors, labels)
    pulls = [((x / x.norm() - vectors[y] / vectors[y].norm()) ** 2).sum() for x, y in known(z, labels)]
    return Found(contrast + 1.5 * mean(pulls, z).value, count)


def cross_entropy(z: Tensor, vectors: Tensor, labels: list[int]) -> Found:
    """``vectors`` end in a column of biases."""
    terms = [softmax_term([x @ v[:-1] + v[-1] for v in vectors], y) for x, y in known(z, labels)]
    return mean(terms, z)


class Case(NamedTuple):
    build: Callable[..., Loss]
    arguments: dict[str, Any]
    oracle: Callable[[Tensor, Tensor, list[int]], Found]


CASES: dict[str, Case] = {
    "arcface": Case(ArcFaceLoss, {"scale": 16}, with_margin(angle_moved, 16)),
    "cosface": Case(CosFaceLoss, {"scale": 16}, with_margin(lambda s: s - 0.35, 16)),
    "sub_center_arcface": Case(SubCenterArcFaceLoss, {"scale": 16}, with_margin(angle_moved, 16, 3)),
    "large_margin_softmax": Case(LargeMarginSoftmaxLoss, {"scale": 2}, multiplied_angle(4, 2, unit=False)),
    "large_margin_softmax, margin 1": Case(LargeMarginSoftmaxLoss, {"margin": 1}, multiplied_angle(1, 1, unit=False)),
    "sphereface": Case(SphereFaceLoss, {"margin": 3, "scale": 8}, multiplied_angle(3, 8, unit=True)),
    "normalized_softmax": Case(NormalizedSoftmaxLoss, {}, with_margin(lambda s: s, 20)),
    "pcr": Case(PCRLoss, {"temperature": 0.2}, contrastive_replay),
    "proxy_nca": Case(ProxyNCALoss, {}, proxy_nca(1.0, False)),
    "proxy_nca++": Case(ProxyNCALoss, {"temperature": 1 / 9, "include_positive": True}, proxy_nca(1 / 9, True)),
    "proxy_anchor": Case(ProxyAnchorLoss, {"alpha": 8}, proxy_anchor),
    "soft_triple": Case(SoftTripleLoss, {"centers_per_class": 3}, soft_triple(0.2, 3)),
    "soft_triple, one centre": Case(SoftTripleLoss, {"centers_per_class": 1}, soft_triple(0.2, 1)),
    "center_contrastive": Case(CenterContrastiveLoss, {"center_weight": 1.5}, center_contrastive),
    "center_contrastive, learned": Case(
        CenterContrastiveLoss, {"center_weight": 1.5, "momentum": None}, center_contrastive
    ),
    "cross_entropy": Case(CrossEntropyLoss, {}, cross_entropy),
}


def build(name: str, dtype: torch.dtype = torch.float64, **further: Any) -> Loss:
    sizes = {"num_classes": CLASSES, "embedding_size": SIZE}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return CASES[name].build(**(sizes | CASES[name].arguments | further)).to(dtype)


def vectors_of(loss: Loss) -> Tensor:
    """What the oracle calls ``vectors``, attached to the parameters."""
    if isinstance(loss, CrossEntropyLoss):
        return torch.cat([loss.classifier.weight, loss.classifier.bias.unsqueeze(1)], 1)
    return loss.centers if isinstance(loss, CenterContrastiveLoss) else loss.proxies


def batch(labels: list[int], dtype: torch.dtype = torch.float64, size: int = SIZE) -> Tensor:
    """A leaf (B, D) of random embeddings, lengths around 1."""
    source = torch.Generator().manual_seed(0)
    z = torch.randn(len(labels), size, generator=source, dtype=torch.float64) * 0.5
    return z.to(dtype).requires_grad_()


def compare(z: Tensor, labels: list[int] | Tensor) -> Comparison:
    """The comparison of a batch with itself, as a run makes it."""
    samples = Samples.of(z, torch.as_tensor(labels))
    return Comparison(samples, [Segment(samples)], Cosine())


def gradients(value: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """Zeros where the value does not depend on a leaf."""
    found = torch.autograd.grad(value, leaves, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]
