"""Hinge losses that are functions of an anchor's row of a (B, R) matrix, with counts of active terms."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.kernels.chunks import chunk_rows, count_rows

HingeRule = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(rows (r, R), positive, negative (r, R) bool, sizes) -> losses (r, k), d losses[:, 0] / d rows (r, R), active (r, c).

``sizes`` (r, 2) int64 are the numbers of positives and of negatives.
"""


class HingedRows(NamedTuple):
    """The results of a rule for all rows; rows that do not count hold zeros."""

    losses: Tensor
    """(B, k); the weights are the derivative of the first column."""
    weights: Tensor
    """(B, R), the derivative of each row's first loss."""
    active: Tensor
    """(c,) int64, counts of active terms."""
    anchors: Tensor
    """(B, 1) bool, the anchors that have a positive and a negative."""
    sizes: Tensor
    """(B, 2) int64, the numbers of positives and of negatives."""


@torch.no_grad()
def hinged_rows(
    matrix: Tensor,
    positive: Tensor,
    negative: Tensor,
    rule: HingeRule,
    *,
    sums: int = 1,
    counts: int = 1,
    complete: bool = True,
) -> HingedRows:
    """Applies a rule to a few rows at a time, while they are in the cache.

    Args:
        matrix: (B, R).
        positive, negative: (B, R) bool, disjoint.
        rule: see :data:`HingeRule`; for rows that do not count it may return any finite numbers.
        sums, counts: the numbers k and c of losses and of counts that the rule returns per row.
        complete: whether only rows with a positive and a negative count.
    """
    matrix = matrix.detach()
    sizes = torch.stack([count_rows(positive), count_rows(negative)], 1)
    anchors = (sizes > 0).all(1, keepdim=True)
    weights = torch.empty_like(matrix)
    losses = matrix.new_zeros(len(matrix), sums)
    active = torch.zeros(len(matrix), counts, dtype=torch.int64, device=matrix.device)
    step = chunk_rows(matrix)
    for start in range(0, len(matrix), step):
        rows = slice(start, start + step)
        with torch.autocast(matrix.device.type, enabled=False):
            found, slopes, count = rule(matrix[rows], positive[rows], negative[rows], sizes[rows])
        if complete:
            keep = anchors[rows]
            found, slopes, count = found * keep, slopes.mul_(keep), count * keep
        losses[rows], weights[rows], active[rows] = found, slopes, count
    return HingedRows(losses, weights, active.sum(0), anchors, sizes * anchors if complete else sizes)
