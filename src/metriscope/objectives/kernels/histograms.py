"""Soft histograms of positive and negative pairs."""

import torch
from torch import Tensor


def soft_bins(positions: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Lower node (int64) and share of the upper node, for positions on a line with nodes 0, 1, ..., bins."""
    inside = positions.clamp(0, bins)
    lower = inside.floor().clamp_(max=bins - 1)
    return lower.long(), inside.sub_(lower)


NEGATIVE, POSITIVE, NEITHER = range(3)
"""Kinds of entries."""


def kinds(positive: Tensor, negative: Tensor) -> Tensor:
    """The kind of each entry (r, R), int64."""
    return (NEITHER - positive.view(torch.int8) - 2 * negative.view(torch.int8)).long()


def histograms(kind: Tensor, lower: Tensor, upper_share: Tensor, bins: int) -> Tensor:
    """Soft histograms (r, 3, bins + 1) of each kind in each row: each entry is shared between its two nodes.

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
