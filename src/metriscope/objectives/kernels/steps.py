"""Sums over triplets weighed by a step function of d(a, p) - d(a, n), computed without listing triplets.

The line is cut at K edges into K + 1 bins. The negatives of an anchor whose triplets with a positive fall into
one bin are a contiguous range of the anchor's sorted negative distances: K binary searches per positive pair give
all ranges, prefix sums of the distances the sums over each, and a prefix sum of range ends the weights of negatives.
Time O(B R (log R + P K log R)) with P the largest number of positives of an anchor.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.chunks import chunk_elements
from metriscope.objectives.classes import Members
from metriscope.objectives.kernels.rules import Judged, Rows, Rule


class Steps(NamedTuple):
    """K edges at equal distances.

    Attributes:
        lowest: the first edge.
        width: the distance of two edges.
        bins: K.
    """

    lowest: float
    width: float
    bins: int

    def edges(self, like: Tensor) -> Tensor:
        """(K,)."""
        return self.lowest + self.width * torch.arange(self.bins, dtype=like.dtype, device=like.device)

    def nodes(self, numbers: Tensor, sums: Tensor) -> Tensor:
        """Numbers of x in each bin (n, K + 1), and sums of these x -> the histogram (n, K) of nodes at the edges.

        Each x is shared between the two nodes next to it; what lies beyond the first or the last counts there.
        """
        inside = numbers[:, 1:]
        upper = ((sums[:, 1:] - inside * self.edges(numbers)) / self.width).clamp_min(0).minimum(inside)
        nodes = inside - upper
        nodes[:, 0] += numbers[:, 0]
        nodes[:, 1:] += upper[:, :-1]
        nodes[:, -1] += upper[:, -1]
        return nodes


class _Ranges(NamedTuple):
    """The triplets of some anchors by positive (r, P) and bin (K + 1).

    Attributes:
        numbers, sums: (r, P, K + 1) float64, of the triplets, and of their d(a, p) - d(a, n).
        ends: (r, P, K) int64, for each edge the number of negatives whose triplets lie above it.
        order: (r, R), the columns by distance, those of negatives first.
    """

    numbers: Tensor
    sums: Tensor
    ends: Tensor
    order: Tensor


def _ranges(distances: Tensor, members: Members, negative: Tensor, steps: Steps) -> _Ranges:
    others, order = distances.masked_fill(negative == 0, torch.inf).sort(1)
    own = distances.gather(1, members.columns)
    limits = own.unsqueeze(2) - steps.edges(own)
    ends = torch.searchsorted(others, limits.flatten(1), right=True).view_as(limits)
    whole = (negative > 0).sum(1).view(-1, 1, 1).expand(-1, own.shape[1], 1)
    bounds = torch.cat([whole, ends, torch.zeros_like(whole)], 2)
    below = torch.nn.functional.pad(others.masked_fill(others == torch.inf, 0).cumsum(1, dtype=torch.float64), (1, 0))
    reached = below.gather(1, bounds.flatten(1)).view_as(bounds)
    present = members.present.unsqueeze(2)
    numbers = -bounds.diff(dim=2) * present
    return _Ranges(numbers.double(), numbers * own.unsqueeze(2).double() + reached.diff(dim=2) * present, ends, order)


def _chunks(rows: Rows, steps: Steps) -> Iterator[tuple[slice, Members]]:
    """Some anchors at a time, so that ranges stay small."""
    members = rows.members
    if members is None:
        # On a GPU, or in a compiled graph, all columns cost less than waiting for the size of a class.
        columns = torch.arange(rows.values.shape[1], device=rows.values.device).expand(rows.values.shape)
        members = Members(columns, rows.positive > 0)
    step = max(1, chunk_elements(rows.values) // max(1, members.columns.shape[1] * steps.bins))
    for start in range(0, len(rows.values), step):
        some = slice(start, start + step)
        yield some, Members(members.columns[some], members.present[some])


def histogram_of(steps: Steps) -> Rule:
    """A rule that reports, of each anchor, the histogram of its triplets over the nodes of :meth:`Steps.nodes`."""

    def judge(rows: Rows) -> Judged:
        losses = rows.values.new_zeros(len(rows.values), 1 + steps.bins, dtype=torch.float64)
        for some, members in _chunks(rows, steps):
            found = _ranges(rows.values[some].detach(), members, rows.negative[some], steps)
            losses[some, 1:] = steps.nodes(found.numbers.sum(1), found.sums.sum(1))
        return Judged(losses)

    return Rule(judge, of_distances=True, reported=steps.bins, complete=False, plain=True)


def weighed_by(steps: Steps, weights: Tensor) -> Rule:
    """A rule that sums w(x) x over triplets, x = d(a, p) - d(a, n), with constant weights (K + 1,) of the bins."""
    rises = weights.diff()

    def judge(rows: Rows) -> Judged:
        losses, slopes = rows.values.new_zeros(len(rows.values), 1), torch.zeros_like(rows.values)
        for some, members in _chunks(rows, steps):
            found = _ranges(rows.values[some], members, rows.negative[some], steps)
            losses[some] = (found.sums * weights).sum((1, 2)).to(losses.dtype).unsqueeze(1)
            present = members.present.unsqueeze(2)
            # At each end, negatives in the order of their distance lose what their weight rises by at its edge.
            falls = rises.new_zeros(len(found.ends), rows.values.shape[1] + 1)
            falls.scatter_add_(1, found.ends.flatten(1), (rises * present).flatten(1))
            first = members.present.sum(1, keepdim=True) * weights[-1]
            by_rank = (first - falls.cumsum(1)[:, :-1]).to(slopes.dtype)
            by_negatives = torch.empty_like(by_rank).scatter_(1, found.order, by_rank) * (rows.negative[some] > 0)
            by_positives = (found.numbers * weights).sum(2).to(slopes.dtype)
            slopes[some] = by_negatives.neg_().scatter_add_(1, members.columns, by_positives)
        return Judged(losses, (slopes,))

    return Rule(judge, of_distances=True, complete=False)
