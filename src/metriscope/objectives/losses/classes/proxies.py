"""Shared code of proxy losses: proxies, softmax over classes, mask of samples with a known class."""

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metriscope.errors import InputError
from metriscope.objectives.arguments import Count
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.base import Loss
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

    The learning rate of proxies is ``optimizer.lr_loss``. Every process computes the loss of the gathered batch, so
    proxies and their gradients are the same on all processes.
    """

    accepts = frozenset({"none"})
    hinge = False
    bound_to_classes = True

    def __init__(self, num_classes: Count, embedding_size: Count, per_class: Count = 1) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.per_class = per_class
        self.proxies = nn.Parameter(unit_vectors(num_classes * per_class, embedding_size))

    def similarities(self, comparison: Comparison) -> Tensor:
        """(B, K C) cosines."""
        return cosine_similarities(comparison.anchors.embeddings, self.proxies)

    def by_class(self, similarities: Tensor) -> Tensor:
        """(B, K C) -> (B, K, C): reductions over K run along contiguous classes, many times faster than over (C, K)."""
        return similarities.view(-1, self.per_class, self.num_classes)


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
