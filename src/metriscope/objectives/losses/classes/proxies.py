"""Shared code of proxy losses: proxies, softmax over classes, mask of samples with a known class."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metriscope.errors import InputError
from metriscope.objectives.arguments import Count
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.losses.classes import synthesis as synthetic_classes
from metriscope.objectives.losses.classes.synthesis import Synthesis, Synthetic, check_synthesis
from metriscope.objectives.output import LossOutput
from metriscope.unit import unit_rows


class Own(NamedTuple):
    """The class of each sample among the classes of a loss.

    Attributes:
        column: (B,) int64, the label, or 0 for a sample of no known class.
        known: (B,) bool; a sample with a label outside 0 ... C - 1 has no term.
        terms: scalar int64, the number of samples of a known class.
    """

    column: Tensor
    known: Tensor
    terms: Tensor


def own_classes(labels: Tensor, num_classes: int) -> Own:
    """(B,) labels -> :class:`Own`."""
    known = (labels >= 0) & (labels < num_classes)
    return Own(labels * known, known, known.sum())


class Compared(NamedTuple):
    """A batch beside the classes of a loss; with S synthetic classes, these and their samples come last.

    Attributes:
        own: the class of each of the B + S samples.
        similarities: (B + S, C + S) cosines, far below all others in columns that stand for no class.
        real: (B, C) cosines of the batch itself, of which the former are made.
        synthetic: the synthetic classes; None without any, where both are one tensor.
    """

    own: Own
    similarities: Tensor
    real: Tensor
    synthetic: Synthetic | None = None

    def hidden(self, scores: Tensor) -> Tensor:
        """Scores (B + S, C + S), far below all others in columns that stand for no class."""
        if self.synthetic is None:
            return scores
        valid = self.synthetic.valid
        absent = torch.cat([valid.new_zeros(scores.shape[1] - len(valid)), ~valid])
        return scores.masked_fill(absent, _LOWEST)

    def lengths(self, embeddings: Tensor, by_class: Tensor) -> Tensor:
        """Products (B + S, C + S) of numbers (B, 1) of embeddings and (C,) of classes; synthetic ones are mixed."""
        if self.synthetic is not None:
            of_own = by_class[self.own.column[: len(embeddings)]]
            embeddings = torch.cat([embeddings, self.synthetic.mixed(embeddings)])
            by_class = torch.cat([by_class, self.synthetic.mixed(of_own)])
        return embeddings * by_class

    def number_of_classes(self, num_classes: int) -> Tensor | int:
        """C, and the synthetic ones."""
        return num_classes if self.synthetic is None else num_classes + self.synthetic.valid.sum()


# A score far below every other, which stays finite when it is multiplied by a scale.
_LOWEST = -1e18


def precise(embeddings: Tensor, vectors: Tensor) -> tuple[Tensor, Tensor]:
    """Both in one dtype of at least float32: at a scale of 64, bfloat16 similarities are too coarse.

    Raises:
        InputError: the vectors have another D.
    """
    if embeddings.shape[1] != vectors.shape[1]:
        raise InputError(f"embeddings {tuple(embeddings.shape)}, but the loss has embedding_size={vectors.shape[1]}")
    dtype = torch.promote_types(torch.promote_types(embeddings.dtype, vectors.dtype), torch.float32)
    return embeddings.to(dtype), vectors.to(dtype)


def cosine_similarities(embeddings: Tensor, vectors: Tensor) -> Tensor:
    """(B, D) and (K, D) -> (B, K), in float32 at least, under autocast too."""
    embeddings, vectors = precise(embeddings, vectors)
    with torch.autocast(embeddings.device.type, enabled=False):
        return unit_rows(embeddings) @ unit_rows(vectors).T


def unit_vectors(count: int, size: int) -> Tensor:
    """(count, size) uniform directions from torch's global generator.

    A cosine depends on directions only, but the effect of a learning rate depends on length: at length 1 a step turns a
    proxy as far as it turns an embedding.
    """
    return F.normalize(torch.randn(count, size), dim=1)


class ProxyLoss(Loss):
    """Base class of losses that compare samples with learned unit vectors, one or several for each class.

    Args:
        num_classes: C; class c has label c. Samples with another label have no term.
        embedding_size: D.
        per_class: K vectors for each class; row k C + c of ``proxies`` (K C, D) is the k-th of class c.
        synthesis: ``{ratio: mu, alpha: a}`` for proxy synthesis, in training alone; None for none.

    Proxy synthesis (Gu, Ko, Kim, arXiv:2103.15454; as read in the authors' code, navervision/proxy-synthesis) adds
    round(mu B) classes in every step, each with one sample. With l ~ Beta(a, a), once for the batch, b and b' two
    samples and y their classes, the embedding is that of l z_b + (1 - l) z_b' and the class vector that of
    l w_y + (1 - l) w_y', all of unit length; gradients flow into all of them. The authors have mu = 1 and a = 0.4. They
    pair each sample with the one before it; here the order of the batch is random, and pairs of one class, or of two
    classes that are paired already, are left out: see :func:`metriscope.objectives.losses.classes.synthesis.draw`.
    Lengths, where they count, are mixed by l too. Synthetic samples are among ``terms``, but not among the pairs that
    diagnostics weigh. O((1 + mu) B (C + mu B) D).

    The learning rate of proxies is ``optimizer.lr_loss``. Every process computes the loss of the gathered batch, so
    proxies and their gradients are the same on all processes.
    """

    needs_cosines = True
    accepts = frozenset({"none"})
    hinge = False
    bound_to_classes = True

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        per_class: Count = 1,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.per_class = per_class
        self.synthesis = synthesis
        self.proxies = nn.Parameter(unit_vectors(num_classes * per_class, embedding_size))

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        check_synthesis(arguments.get("synthesis"))

    def compared(self, comparison: Comparison) -> Compared:
        """The batch beside all classes and, in training, synthetic ones."""
        own = own_classes(comparison.anchors.labels, self.num_classes)
        if self.synthesis is None or not self.training:
            similarities = self.similarities(comparison)
            return Compared(own, similarities, similarities)
        ratio, alpha = self.synthesis["ratio"], self.synthesis["alpha"]
        generator = comparison.moment.generator
        synthetic = synthetic_classes.draw(own.column, own.known, self.num_classes, ratio, alpha, generator)
        rows = precise(comparison.anchors.embeddings, self.proxies)
        real, every = synthetic_classes.similarities(*rows, own.column, synthetic)
        valid = synthetic.valid
        columns = torch.arange(self.num_classes, every.shape[1], device=every.device) * valid
        extended = Own(torch.cat([own.column, columns]), torch.cat([own.known, valid]), own.terms + valid.sum())
        found = Compared(extended, every, real, synthetic)
        return found._replace(similarities=found.hidden(every))

    def similarities(self, comparison: Comparison) -> Tensor:
        """(B, K C) cosines."""
        return cosine_similarities(comparison.anchors.embeddings, self.proxies)

    def by_class(self, similarities: Tensor) -> Tensor:
        """(B, K C) -> (B, K, C): reductions over K run along contiguous classes, many times faster than over (C, K)."""
        return similarities.view(-1, self.per_class, similarities.shape[1] // self.per_class)


class _Softmax(torch.autograd.Function):
    """Sum of -log softmax at one column of each row times a weight; the forward pass computes the gradient."""

    @staticmethod
    def forward(
        ctx: Any, scores: Tensor, target: Tensor | None, column: Tensor, weights: Tensor, scale: float
    ) -> Tensor:
        column, weights = column.unsqueeze(1), weights.unsqueeze(1)
        logits = scores * scale
        if target is not None:
            logits.scatter_(1, column, scale * target.unsqueeze(1))
        logarithms = logits.log_softmax(1)
        own = logarithms.gather(1, column)
        gradient = logarithms.exp_().scatter_(1, column, own.expm1()).mul_(scale * weights)
        ctx.margin = target is not None
        ctx.save_for_backward(gradient, column)
        return -(own * weights).sum()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        gradient, column = ctx.saved_tensors
        by_scores = gradient * grad
        by_target = None
        if ctx.margin:
            by_target = by_scores.gather(1, column).squeeze(1)
            by_scores.scatter_(1, column, 0)
        return by_scores, by_target, None, None, None


def softmax_loss(
    scores: Tensor,
    own: Own,
    scale: float,
    target: Tensor | None = None,
    similarities: Tensor | None = None,
    parts: dict[str, Tensor] | None = None,
) -> LossOutput:
    """Mean of -log softmax_c(scale * scores) at the sample's own class, over the samples of a known class.

    Args:
        scores: (B, C), one for each class.
        own: class of each sample.
        scale: factor of all scores (one over a temperature), above 0.
        target: (B,) score of the own class that replaces the entry of ``scores``, where a margin lowers it.
        similarities: similarities of the output; by default ``scores``.
        parts: parts of the output.
    """
    weights = own.known.to(scores.dtype) / own.terms.clamp_min(1)
    value: Tensor = _Softmax.apply(scores, target, own.column, weights, scale)
    return LossOutput(value, own.terms, own.terms, parts or {}, scores if similarities is None else similarities)


def own_scores(scores: Tensor, own: Own) -> Tensor:
    """(B, C) -> (B,), the score of each sample's own class."""
    return scores.gather(1, own.column.unsqueeze(1)).squeeze(1)


def add_angle(cosine: Tensor, margin: float) -> Tensor:
    """cos(theta + margin) from cos(theta), without an arc cosine.

    Beyond theta = pi - margin, where cos(theta + margin) would rise again, the result is
    cos(theta) - margin sin(margin), as in the authors' code. Near theta = 0 and pi the derivative of the sine by the
    cosine grows without bound and is taken as 0.

    Args:
        cosine: cos(theta), any shape.
        margin: radians, between 0 and pi.
    """
    sine = (1 - cosine.square()).clamp_min(8 * torch.finfo(cosine.dtype).eps).sqrt()
    moved = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine >= -math.cos(margin), moved, cosine - margin * math.sin(margin))
