"""Sums of hinges over bands of triplets, computed without listing triplets.

For anchor a, a negative at distance x is active for the positives p with

    x - upper < d(a, p) < x - low,   upper = min(margin, high),

a contiguous range of a's sorted positive distances. Two binary searches per (anchor, negative) give
the range; its length is (minus) the weight of d(a, n), and the number of ranges that cover a
positive, a prefix sum of range ends, is the weight of d(a, p). The value is then linear,

    sum_T max(0, d_ap - d_an + margin) = sum_ij W_ij d_ij + margin * active,

with W locally constant, so W is also the exact gradient with respect to the distances.
Time O(B R log P) with P the largest number of positives of an anchor, memory O(B R) for W and O(chunk)
for temporaries.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.kernels.chunks import chunk_rows, count_rows

# Up to this many positives per anchor, comparing with each in turn is faster than binary searches.
_FEW_POSITIVES = 8


class BandSums(NamedTuple):
    """Sums over the active triplets of a band."""

    weights: Tensor
    """(B, R), the derivative of ``total`` with respect to each distance."""
    total: Tensor
    """Scalar float64: the sum of the hinges."""
    active: Tensor
    """Scalar int64: the number of triplets with a hinge above zero."""


def _only(distances: Tensor, mask: Tensor) -> Tensor:
    """Distances with masked-out entries raised above every finite value, by an addition: a CPU masks more slowly."""
    return torch.add(distances, (1 - mask.view(torch.int8)).to(distances.dtype), alpha=torch.finfo(distances.dtype).max)


def _compare(
    d: Tensor, positive: Tensor, negative: Tensor, width: int, nearest: float, furthest: float
) -> tuple[Tensor, Tensor]:
    """Weights (r, R) and number of triplets with nearest < d_ap - d_an < furthest, for each positive in turn."""
    row, column = positive.nonzero().unbind(1)
    counts = torch.bincount(row, minlength=len(d))
    place = torch.arange(len(row), device=d.device) - (counts.cumsum(0) - counts)[row]
    own = d.new_full((len(d), width), -math.inf)
    own[row, place] = d[row, column]
    others = _only(d, negative)
    least, most = others + nearest, others.add_(furthest) if furthest < math.inf else None
    weights, covers = torch.zeros_like(d), torch.empty_like(own)
    # Comparisons that write numbers 0 and 1 are several times as fast as comparisons that write masks.
    inside, below = torch.empty_like(d), torch.empty_like(d)
    for k in range(width):
        one = own[:, k : k + 1]
        torch.gt(one, least, out=inside)
        if most is not None:
            inside.mul_(torch.lt(one, most, out=below))
        weights.sub_(inside)
        covers[:, k] = inside.sum(1)
    weights[row, column] = covers[row, place]
    return weights, covers.sum(dtype=torch.float64).long()


def _search(
    d: Tensor, positive: Tensor, negative: Tensor, width: int, nearest: float, furthest: float
) -> tuple[Tensor, Tensor]:
    """The result of :func:`_compare`, by binary search of each negative among the sorted positives of its anchor."""
    positives, order = _only(d, positive).topk(width, dim=1, largest=False)
    real = positives < torch.finfo(d.dtype).max
    positives.masked_fill_(~real, math.inf)
    others = _only(d, negative)
    ends = torch.zeros(len(d), width + 1, dtype=torch.int32, device=d.device)
    one = ends.new_ones(())
    first = torch.searchsorted(positives, others + nearest, right=True)
    ends.scatter_add_(1, first, one.expand_as(first))
    if furthest == math.inf:
        last = real.sum(1, keepdim=True)
        covered = (last - first).clamp_min_(0)
    else:
        last = torch.searchsorted(positives, others + furthest)
        ends.scatter_add_(1, last, -one.expand_as(last))
        covered = last - first
    covers = ends.cumsum(1)[:, :-1] * real
    active = covered.sum()
    return covered.neg_().to(d.dtype).scatter_add_(1, order, covers.to(d.dtype)), active


@torch.no_grad()
def band_sums(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, low: float, high: float
) -> BandSums:
    """Sums of max(0, d_ap - d_an + margin) over the triplets with ``low < d_an - d_ap < high``.

    Args:
        distances: (B, R) float32 or float64.
        positive, negative: (B, R) bool, disjoint.
        margin: margin of the hinge, in units of distance.
        low, high: open interval of the gap d_an - d_ap.

    Returns:
        Exact sums; at the very edge of the band the rounding of ``d_an - margin`` decides whether a triplet counts.
    """
    rows, columns = distances.shape
    upper_gap = min(margin, high)
    if upper_gap <= low:
        zero = torch.zeros((), dtype=torch.float64, device=distances.device)
        return BandSums(torch.zeros_like(distances), zero, zero.long())
    # The host needs the largest number of positives of any anchor. On a GPU, or in a compiled graph, the full width
    # costs less than waiting for that number.
    synchronous = distances.device.type == "cpu" and not torch.compiler.is_compiling()
    width = max(1, int(count_rows(positive).max())) if synchronous and rows else columns
    account = _compare if synchronous and width <= _FEW_POSITIVES else _search
    weights = torch.empty_like(distances)
    totals, actives = [], []
    step = chunk_rows(distances)
    for start in range(0, rows, step):
        d, pos, neg = (x[start : start + step] for x in (distances, positive, negative))
        w, active = account(d, pos, neg, width, -upper_gap, -low)
        weights[start : start + step] = w
        # The weights of a row add up to 0, so subtracting the row's mean distance changes nothing but reduces rounding.
        linear = torch.linalg.vecdot(w, d - d.mean(1, keepdim=True))
        totals.append(linear.sum(dtype=torch.float64) + margin * active.double())
        actives.append(active)
    if not totals:
        return BandSums(weights, weights.sum(dtype=torch.float64), weights.sum(dtype=torch.int64))
    return BandSums(weights, torch.stack(totals).sum(), torch.stack(actives).sum())
