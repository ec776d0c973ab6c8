"""Triplet loss with a soft margin."""

import math

import torch

from metriscope.objectives.arguments import NonNegative, Positive, Reduction
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.soft_bands import softplus_over
from metriscope.objectives.losses.base import Loss, mean_part, reduce
from metriscope.objectives.mixed import Mixtures
from metriscope.objectives.numerics import soft_hinge
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, TripletBand, Triplets, triplet_distances


class SoftMarginTripletLoss(Loss):
    """log(1 + exp(d(a, p) - d(a, n) + margin)) over the selected triplets.

    Hermans, Beyer, Leibe, arXiv:1703.07737: the hinge of the triplet loss is replaced by softplus, which
    decays instead of cutting off, so that satisfied triplets are still pulled apart. The paper has no margin inside
    softplus. Its miner is ``batch_hard``; ``miner=all`` is its "batch all".

    Equal to pytorch-metric-learning's ``TripletMarginLoss(smooth_loss=True)``, whose margin is 0.05 by default.

    Sums over all triplets, or over a band of them, stream over chunks of anchors: O(B P R) time with P the largest
    number of positives of an anchor, and memory ``memory_mb``. The host waits for P once in a block of anchors; a
    compiled graph uses P = R instead, which costs more than it saves where classes are small.

    Args:
        margin: added to the difference, in units of the distance, at least 0; the miners semihard, violating and easy
            use it as their margin too.
        reduction: ``mean`` over all valid triplets, ``sum``, or ``mean_active`` over those of the band.
        memory_mb: bound on the temporaries of a chunk, in MiB, above 0; a chunk holds at least one positive with its R
            negatives.

    ``terms`` are all triplets that the labels or the selected pairs allow, or those of a list; ``active`` those within
    the band, or all of them without a band.
    """

    accepts = frozenset({"all", "band", "pairs", "triplets"})
    hinge = False
    paper = "arXiv:1703.07737"

    def __init__(self, margin: NonNegative = 0.0, reduction: Reduction = "mean", memory_mb: Positive = 256) -> None:
        super().__init__()
        self.margin = margin
        self.reduction = reduction
        self.memory_mb = memory_mb

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        if isinstance(selection, Triplets | Mixtures):
            return self._list(comparison, selection)
        low, high = (selection.low, selection.high) if isinstance(selection, TripletBand) else (-math.inf, math.inf)
        rule = softplus_over(self.margin, low, high, self.memory_mb)
        found = over_rows(comparison, selection, rule)
        (total,), active, terms = found.totals, found.active[0], found.sizes.prod(1).sum()
        scale = reduce(torch.ones_like(total), active, terms, self.reduction)
        return found.output(scale, active, terms, mean_part(total, terms, self.reduction))

    def _list(self, comparison: Comparison, selection: Triplets | Mixtures) -> LossOutput:
        to_positive, to_negative, valid = triplet_distances(selection, comparison)
        gap = to_negative - to_positive
        total = (soft_hinge(self.margin - gap) * valid).sum()
        terms = valid.sum()
        value = reduce(total, terms, terms, self.reduction)
        return LossOutput(value, terms, terms, mean_part(total, terms, self.reduction))
