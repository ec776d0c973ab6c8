"""Hinges over bands of triplets, without the triplets.

For anchor a, a negative at distance x is active for the positives p with

    x - upper < d(a, p) < x - low,   upper = min(margin, high),

a contiguous range of a's sorted positive distances. Two binary searches per (anchor, negative) give
the range; its length is (minus) the weight of d(a, n), and the number of ranges that cover a
positive, a prefix sum of range ends, is the weight of d(a, p). The value is then linear,

    sum_T max(0, d_ap - d_an + margin) = sum_ij W_ij d_ij + margin * active,

with W locally constant, so W is also the exact gradient with respect to the distances.
Time O(B R log P) with P the most positives of an anchor, memory O(B R) for W and O(chunk) beside it.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

# Rows are worked on in chunks: on a CPU small enough for its cache, elsewhere large enough to hide launches.
_CHUNK_ELEMENTS_CPU = 1 << 18
_CHUNK_ELEMENTS = 1 << 24
# Up to so many positives per anchor, comparing with each in turn beats binary searches.
_FEW_POSITIVES = 8


class BandSums(NamedTuple):
    """Sums over the active triplets of a band."""

    weights: Tensor
    """(B, R), the derivative of ``total`` with respect to each distance."""
    total: Tensor
    """Scalar float64: the sum of the hinges."""
    active: Tensor
    """Scalar int64: the number of triplets with a hinge above zero."""


def _covering(positives: Tensor, lower: Tensor, upper: Tensor | None, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Per negative (r, R) the positives in its open interval, per sorted positive (r, P) the negatives over it."""
    if positives.shape[1] <= _FEW_POSITIVES:
        count_negative = torch.zeros(lower.shape, dtype=torch.int32, device=lower.device)
        per_positive = []
        for k in range(positives.shape[1]):
            column = positives[:, k : k + 1]
            inside = (lower < column) & negative & (column < math.inf)
            if upper is not None:
                inside &= column < upper
            count_negative += inside
            per_positive.append(inside.sum(1))
        return count_negative, torch.stack(per_positive, 1)
    first = torch.searchsorted(positives, lower, right=True)
    if upper is None:
        last = (positives < math.inf).sum(1, keepdim=True).expand_as(first)
    else:
        last = torch.searchsorted(positives, upper)
    ones = negative.to(torch.int32)
    ends = torch.zeros(positives.shape[0], positives.shape[1] + 1, dtype=torch.int32, device=lower.device)
    ends.scatter_add_(1, first, ones).scatter_add_(1, last, -ones)
    return (last - first) * ones, ends.cumsum(1)[:, :-1]


@torch.no_grad()
def band_sums(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, low: float, high: float
) -> BandSums:
    """Sums of max(0, d_ap - d_an + margin) over the triplets with ``low < d_an - d_ap < high``.

    Args:
        distances: (B, R) float32 or float64.
        positive, negative: (B, R) bool, disjoint.
        margin: of the hinge, in units of distance.
        low, high: open interval of the gap d_an - d_ap.

    Returns:
        Exact sums; triplets at the very edge of the band follow the rounding of ``d_an - margin``.
    """
    rows, columns = distances.shape
    upper_gap = min(margin, high)
    if upper_gap <= low:
        zero = torch.zeros((), dtype=torch.float64, device=distances.device)
        return BandSums(torch.zeros_like(distances), zero, zero.long())
    # The most positives of any anchor is a number the host needs: on a GPU, or in a compiled graph,
    # the full width costs less than waiting for it.
    synchronous = distances.device.type == "cpu" and not torch.compiler.is_compiling()
    width = max(1, int(positive.sum(1).max())) if synchronous and rows else columns
    weights = torch.empty_like(distances)
    totals, actives = [], []
    chunk = _CHUNK_ELEMENTS_CPU if distances.device.type == "cpu" else _CHUNK_ELEMENTS
    step = max(1, chunk // max(1, columns))
    for start in range(0, rows, step):
        d, pos, neg = (x[start : start + step] for x in (distances, positive, negative))
        sorted_positives, order = d.masked_fill(~pos, math.inf).topk(width, dim=1, largest=False)
        count_negative, count_positive = _covering(
            sorted_positives, d - upper_gap, None if low == -math.inf else d - low, neg
        )
        w = (-count_negative).to(d.dtype).scatter_add_(1, order, count_positive.to(d.dtype))
        weights[start : start + step] = w
        active = count_negative.sum(dtype=torch.int64)
        totals.append((w.double() * d).sum() + margin * active.double())
        actives.append(active)
    if not totals:
        return BandSums(weights, weights.sum(dtype=torch.float64), weights.sum(dtype=torch.int64))
    return BandSums(weights, torch.stack(totals).sum(), torch.stack(actives).sum())


class LinearInDistances(torch.autograd.Function):
    """A value known in advance that is linear in the distances: backward hands out the weights."""

    @staticmethod
    def forward(ctx: Any, distances: Tensor, weights: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(weights)
        return value.to(distances.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (weights,) = ctx.saved_tensors
        return grad * weights, None, None
