"""Sums of hinges over bands of triplets, computed without listing triplets.

For anchor a, a negative at distance x is active for the positives p with

    x - upper < d(a, p) < x - low,   upper = min(margin, high),

a contiguous range of a's sorted positive distances. Two binary searches per (anchor, negative) give
the range; its length is (minus) the weight of d(a, n), and the number of ranges that cover a
positive, a prefix sum of range ends, is the weight of d(a, p). The value is then linear,

    sum_T max(0, d_ap - d_an + margin) = sum_ij W_ij d_ij + margin * active,

with W locally constant, so W is also the exact gradient with respect to the distances.
Time O(B R log P) with P the largest number of positives of an anchor.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.classes import Members
from metriscope.objectives.kernels.rules import Judged, Rows, Rule

# Up to this many positives per anchor, comparing with each in turn is faster than binary searches.
_FEW_POSITIVES = 8


class BandSums(NamedTuple):
    """Sums over the active triplets of a band, for each anchor."""

    weights: Tensor
    """(r, R), the derivative of ``totals`` with respect to each distance."""
    totals: Tensor
    """(r,) float64: the sums of the hinges."""
    active: Tensor
    """(r,) int64: the numbers of triplets with a hinge above zero."""


def _own(distances: Tensor, members: Members) -> Tensor:
    """(r, P), the distances of the positives; -inf where there is none."""
    return distances.gather(1, members.columns).masked_fill_(~members.present, -math.inf)


def _others(distances: Tensor, negative: Tensor) -> Tensor:
    """Distances with those of no negatives raised above every finite value."""
    return torch.add(distances, 1 - negative, alpha=torch.finfo(distances.dtype).max)


def _compare(
    d: Tensor, members: Members, negative: Tensor, nearest: float, furthest: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of negatives (r, R) and of positives (r, P), and numbers (r,), for each positive in turn.

    Of triplets with nearest < d_ap - d_an < furthest.
    """
    own, others = _own(d, members), _others(d, negative)
    least, most = others + nearest, others.add_(furthest) if furthest < math.inf else None
    weights, covers = torch.zeros_like(d), torch.empty_like(own)
    # Comparisons that write numbers 0 and 1 are several times as fast as comparisons that write masks.
    inside, below = torch.empty_like(d), torch.empty_like(d)
    for k in range(own.shape[1]):
        one = own[:, k : k + 1]
        torch.gt(one, least, out=inside)
        if most is not None:
            inside.mul_(torch.lt(one, most, out=below))
        weights.sub_(inside)
        covers[:, k] = inside.sum(1)
    return weights, covers, covers.sum(1, dtype=torch.float64).long()


def _search(
    d: Tensor, members: Members, negative: Tensor, nearest: float, furthest: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The result of :func:`_compare`, by binary search of each negative among the sorted positives of its anchor."""
    positives, order = _own(d, members).sort(1)
    others, width = _others(d, negative), positives.shape[1]
    least, most = (others + nearest, others + furthest) if furthest < math.inf else (others.add_(nearest), None)
    ends = torch.zeros(len(d), width + 1, dtype=torch.int32, device=d.device)
    one = ends.new_ones(())
    first = torch.searchsorted(positives, least, right=True)
    ends.scatter_add_(1, first, one.expand_as(first))
    if most is None:
        uncovered = first - width
    else:
        last = torch.searchsorted(positives, most)
        ends.scatter_add_(1, last, -one.expand_as(last))
        uncovered = first - last
    covers = ends.cumsum(1)[:, :-1].to(d.dtype)
    by_positives = torch.empty_like(covers).scatter_(1, order, covers)
    return uncovered.to(d.dtype), by_positives, uncovered.sum(1).neg_()


def band_sums(
    distances: Tensor, members: Members, negative: Tensor, margin: float, low: float, high: float
) -> BandSums:
    """Sums of max(0, d_ap - d_an + margin) over the triplets with ``low < d_an - d_ap < high``.

    Args:
        distances: (r, R) float32 or float64, without a graph.
        members: the positives.
        negative: (r, R), 1 for negatives and 0 for others.
        margin: margin of the hinge, in units of distance.
        low, high: open interval of the gap d_an - d_ap.

    Returns:
        Exact sums; at the very edge of the band the rounding of ``d_an - margin`` decides whether a triplet counts.
    """
    upper_gap = min(margin, high)
    if upper_gap <= low:
        nothing = torch.zeros(len(distances), dtype=torch.float64, device=distances.device)
        return BandSums(torch.zeros_like(distances), nothing, nothing.long())
    few = members.columns.shape[1] <= _FEW_POSITIVES and distances.device.type == "cpu"
    account = _compare if few and not torch.compiler.is_compiling() else _search
    weights, by_positives, active = account(distances, members, negative, -upper_gap, -low)
    # Places without a positive lie below every range, so they add 0.
    weights.scatter_add_(1, members.columns, by_positives)
    # The weights of a row add up to 0, so subtracting the row's mean distance changes nothing but reduces rounding.
    linear = torch.linalg.vecdot(weights, distances - distances.mean(1, keepdim=True))
    return BandSums(weights, torch.add(linear.double(), active, alpha=margin), active)


def hinges_over(margin: float, low: float, high: float) -> Rule:
    """The rule of :func:`band_sums`: a function of distances, with one sum and one count."""

    def judge(rows: Rows) -> Judged:
        members = rows.members
        if members is None:
            # On a GPU, or in a compiled graph, all columns cost less than waiting for the size of a class.
            columns = torch.arange(rows.values.shape[1], device=rows.values.device).expand_as(rows.values)
            members = Members(columns, rows.positive > 0)
        sums = band_sums(rows.values, members, rows.negative, margin, low, high)
        return Judged(sums.totals.unsqueeze(1), (sums.weights,), sums.active.unsqueeze(1))

    return Rule(judge, of_distances=True, counts=1, complete=False)
