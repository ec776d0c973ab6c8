"""Triplet loss with a hinge."""

import math

import torch

from metriscope.objectives.arguments import NonNegative, Reduction
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.bands import hinges_over
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.losses.base import Loss, mean_part, reduce
from metriscope.objectives.mixed import Mixtures
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, TripletBand, Triplets, triplet_distances


class TripletLoss(Loss):
    """max(0, d(a, p) - d(a, n) + margin) over the selected triplets.

    With ``distance=squared_euclidean reduction=sum`` this is the triplet loss of [CT] (arXiv:2510.02161);
    with ``distance=euclidean reduction=mean_active`` it is the form that most libraries compute. The default
    ``reduction=mean`` divides by all valid triplets, so that the value falls as triplets are satisfied.

    Bands of triplets cost O(B R log P) time and keep no matrix (see :mod:`metriscope.objectives.kernels.bands`); a list
    keeps that of distances.

    Args:
        margin: in units of the distance, at least 0.
        reduction: ``mean``, ``sum`` or ``mean_active``.
    """

    accepts = frozenset({"all", "band", "pairs", "triplets"})
    hinge = True
    paper = "arXiv:2510.02161"

    def __init__(self, margin: NonNegative = 0.2, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.margin = margin
        self.reduction = reduction

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        if isinstance(selection, Triplets | Mixtures):
            return self._list(comparison, selection)
        low, high = (selection.low, selection.high) if isinstance(selection, TripletBand) else (-math.inf, math.inf)
        rule = hinges_over(self.margin, low, high)
        found = over_rows(comparison, selection, rule)
        (total,), active, terms = found.totals, found.active[0], found.sizes.prod(1).sum()
        scale = reduce(torch.ones_like(total), active, terms, self.reduction)
        return found.output(scale, active, terms, mean_part(total, terms, self.reduction))

    def _list(self, comparison: Comparison, selection: Triplets | Mixtures) -> LossOutput:
        to_positive, to_negative, valid = triplet_distances(selection, comparison)
        gap = to_negative - to_positive
        hinges = (self.margin - gap).clamp_min(0) * valid
        total, active, terms = hinges.sum(), (hinges.detach() > 0).sum(), valid.sum()
        value = reduce(total, active, terms, self.reduction)
        return LossOutput(value, active, terms, mean_part(total, terms, self.reduction))
