"""How the push of a loss spreads over negatives: the effective share of an anchor's negatives that push it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.diagnostics.activity import Pulls, weights_of
from metriscope.objectives.comparison import Comparison


class Spread(NamedTuple):
    """Sum over anchors of their effective share of negatives, and how many anchors are pushed at all; scalars."""

    total: Tensor
    anchors: Tensor


def spread_of(weights: Tensor, negative: Tensor) -> Spread:
    """The spread of some anchors.

    With p the weights of an anchor's negatives over their sum, exp(-sum p log p) is the effective number of negatives
    that push it (1 for one, the number of negatives where all push alike), here over the number of its negatives.
    Generalises the relative penalty r of arXiv:2012.09740 to any loss. An anchor that nothing pushes has none.

    Args:
        weights: (r, R), |dL/ds|.
        negative: (r, R) bool, all negatives that the labels allow, whichever the loss compares.
    """
    pushes = weights.masked_fill(~negative, 0)
    # Weights may be so small that their sum is not: the largest of each anchor becomes 1.
    largest = pushes.amax(1, keepdim=True)
    pushed = largest.squeeze(1) > 0
    shares = pushes / largest.where(largest > 0, 1)
    shares = shares / shares.sum(1, keepdim=True).clamp_min(1)
    effective = torch.special.entr(shares).sum(1).exp()
    share = effective / negative.sum(1).clamp_min(1)
    return Spread((share * pushed).sum(dtype=torch.float64), pushed.sum())


@torch.no_grad()
def negative_spread(comparison: Comparison, pulls: Sequence[Pulls]) -> Spread:
    """:func:`spread_of` all anchors, a few at a time: one more pass over the pairs, O(B R).

    Synthetic references are left out.

    Args:
        comparison: of all samples.
        pulls: of one or several losses, which are added.
    """
    synthetic = comparison.synthetic
    parts = [
        spread_of(weights_of(pulls, block.rows), block.negative if synthetic is None else block.negative & ~synthetic)
        for block in comparison.blocks()
    ]
    zero = torch.zeros((), dtype=torch.float64, device=comparison.anchors.labels.device)
    return Spread(sum((part.total for part in parts), zero), sum((part.anchors for part in parts), zero.long()))


@torch.no_grad()
def proxy_spread(similarity_gradient: Tensor, labels: Tensor, num_classes: int) -> Spread:
    """:func:`spread_of` samples that are compared with proxies: those of other classes are the negatives.

    Args:
        similarity_gradient: (B, K C), dL/ds; column k C + c belongs to class c.
        labels: (B,).
        num_classes: C.
    """
    classes = torch.arange(similarity_gradient.shape[1], device=labels.device) % num_classes
    return spread_of(similarity_gradient.abs(), labels.unsqueeze(1) != classes)
