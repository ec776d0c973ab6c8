"""Losses that are a mean over anchors, each a function of its own row of similarities or distances.

A rule gives the losses of a few rows and their derivative at once, so that rows are worked on while they
are in the cache, nothing but the derivative (B, R) is kept for the backward pass, and no loss needs a
temporary of the size of the batch squared.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metriscope.objectives.kernels.chunks import chunk_rows, count_rows
from metriscope.objectives.losses.base import LossOutput
from metriscope.objectives.selection import Comparison

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(rows (r, R), positive, negative (r, R) bool, share (r, 1)) -> losses (r, 1), share * d loss / d rows (r, R).

Rows without a positive or a negative have share 0 and may give any finite numbers.
"""


class KnownGradient(torch.autograd.Function):
    """A value with its derivative by ``matrix``, both known in advance: backward hands the derivative out."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, weights: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(weights)
        return value.to(matrix.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        (weights,) = ctx.saved_tensors
        # The loss is mostly the end of the graph, and its gradient 1: a CPU can look, and make no further matrix.
        looks = weights.device.type == "cpu" and not torch.compiler.is_compiling()
        return weights if looks and grad == 1 else grad * weights, None, None


def most_positives(positive: Tensor) -> int:
    """The most positives of any anchor, at least 1: a number the host waits for.

    A compiled graph cannot wait, and takes all columns instead.
    """
    if torch.compiler.is_compiling() or not positive.numel():
        return max(1, positive.shape[1])
    return max(1, int(count_rows(positive).max()))


def mean_over_anchors(
    comparison: Comparison,
    positive: Tensor,
    negative: Tensor,
    rule: Rule,
    *,
    of_distances: bool = False,
    per_pair: bool = False,
    elements: int = 1,
    memory_mb: float | None = None,
) -> LossOutput:
    """The mean of a rule over the anchors that have a positive and a negative.

    Args:
        comparison: whose distances the loss will be attached to.
        positive, negative: (B, R) bool, disjoint.
        rule: see :data:`Rule`; of similarities, without a matrix of them.
        of_distances: whether the rule is one of distances instead.
        per_pair: whether a row's loss is a sum over its positives and the mean is one over positive pairs.
        elements: temporary elements that the rule needs per element of a row.
        memory_mb: see :func:`metriscope.objectives.kernels.chunks.chunk_elements`.

    Returns:
        A loss with ``active = terms``, the anchors or positive pairs of the mean.
    """
    matrix, distance = comparison.distances, comparison.distance
    with torch.no_grad(), torch.autocast(matrix.device.type, enabled=False):
        counts = count_rows(positive).unsqueeze(1)
        valid = (counts > 0) & (count_rows(negative).unsqueeze(1) > 0)
        terms = ((counts if per_pair else 1) * valid).sum()
        share = valid.to(matrix.dtype) / terms.clamp_min(1)
        weights = torch.empty_like(matrix)
        losses = torch.zeros_like(share)
        step = chunk_rows(matrix, memory_mb, elements)
        for start in range(0, matrix.shape[0], step):
            rows = slice(start, start + step)
            distances = matrix.detach()[rows]
            judged = distances if of_distances else distance.similarity(distances)
            losses[rows], slopes = rule(judged, positive[rows], negative[rows], share[rows])
            weights[rows] = slopes if of_distances else distance.from_similarity_(slopes, distances)
        value = (losses * share).masked_fill_(~valid, 0).sum(dtype=torch.float64)
    attached: Tensor = KnownGradient.apply(matrix, weights, value)
    return LossOutput(attached, terms, terms, {})


def numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 and 1 for a bool mask; by way of int8, from which the CPU converts several times as fast."""
    return mask.view(torch.int8).to(dtype)


def masked_softmax(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax over the masked entries of each row (0 elsewhere), and their log-sum-exp (r, 1).

    Rows without an entry give finite numbers without a meaning.
    """
    # Far below every logit and finite, since a row without an entry subtracts it from itself; by an addition, several
    # times as fast as filling by a mask.
    outside = (mask.view(torch.int8) - 1).to(logits.dtype)
    masked = torch.add(logits, outside, alpha=torch.finfo(logits.dtype).max / 8)
    chances = masked.softmax(1)
    # The highest entry has exp(0) for its share of the sum.
    return chances, masked.amax(1, keepdim=True) - chances.amax(1, keepdim=True).log_()


def softplus(x: Tensor) -> tuple[Tensor, Tensor]:
    """log(1 + exp(x)) to all digits and its derivative, 0 at -inf.

    Several times as fast as by a log1p, which the CPU does not vectorise.
    """
    slope = x.sigmoid()
    lesser = torch.minimum(slope, 1 - slope)
    greater = 1 - lesser
    # What the subtraction has rounded away, to first order.
    lost = (1 - greater).sub_(lesser).div_(greater)
    return x.clamp_min(0).sub_(lost).sub_(greater.log_()), slope


def soft_bins(positions: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Lower node (int64) and the share of the upper one, for positions on a line with nodes 0, 1, ..., bins."""
    inside = positions.clamp(0, bins)
    lower = inside.floor().clamp_(max=bins - 1)
    return lower.long(), inside.sub_(lower)


NEGATIVE, POSITIVE, NEITHER = range(3)
"""Kinds of entries."""


def kinds(positive: Tensor, negative: Tensor) -> Tensor:
    """The kind of each entry (r, R), int64."""
    return (NEITHER - positive.view(torch.int8) - 2 * negative.view(torch.int8)).long()


def histograms(kind: Tensor, lower: Tensor, upper_share: Tensor, bins: int) -> Tensor:
    """Soft histograms (r, 3, bins + 1) of each kind in each row: an entry goes to its two nodes in proportion.

    Args:
        kind: (r, R) int64.
        lower, upper_share: (r, R), from :func:`soft_bins`.
    """
    nodes = bins + 1
    place = lower + kind * nodes
    result = upper_share.new_zeros(len(lower), 3 * nodes)
    result.scatter_add_(1, place, 1 - upper_share)
    result.scatter_add_(1, place.add_(1), upper_share)
    return result.view(len(lower), 3, nodes)
