"""Triplet loss with a hinge."""

from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Reduction
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.bands import band_sums
from metriscope.objectives.kernels.chunks import count_rows
from metriscope.objectives.kernels.gradient import KnownGradient
from metriscope.objectives.losses.base import Loss, mean_part, reduce
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Mixtures, Selection, Triplets, as_band, triplet_distances


class TripletLoss(Loss):
    """max(0, d(a, p) - d(a, n) + margin) over the selected triplets.

    With ``distance=squared_euclidean reduction=sum`` this is the triplet loss of [CT] (arXiv:2510.02161);
    with ``distance=euclidean reduction=mean_active`` it is the form that most libraries compute. The default
    ``reduction=mean`` divides by all valid triplets, so that the value falls as triplets are satisfied.

    Bands of triplets cost O(B R log P) time and O(B R) memory (see :mod:`metriscope.objectives.kernels.bands`).

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
        band, pairs = as_band(selection, comparison)
        sums = band_sums(
            comparison.distances.detach(), pairs.positive, pairs.negative, self.margin, band.low, band.high
        )
        terms = (count_rows(pairs.positive) * count_rows(pairs.negative)).sum()
        scale = reduce(sums.total.new_ones(()), sums.active, terms, self.reduction)
        value: Tensor = KnownGradient.apply(comparison.distances, sums.weights.mul_(scale), sums.total * scale)
        return LossOutput(value, sums.active, terms, mean_part(sums.total, terms, self.reduction))

    def _list(self, comparison: Comparison, selection: Triplets | Mixtures) -> LossOutput:
        to_positive, to_negative, valid = triplet_distances(selection, comparison)
        gap = to_negative - to_positive
        hinges = (self.margin - gap).clamp_min(0) * valid
        total, active, terms = hinges.sum(), (hinges.detach() > 0).sum(), valid.sum()
        value = reduce(total, active, terms, self.reduction)
        return LossOutput(value, active, terms, mean_part(total, terms, self.reduction))
