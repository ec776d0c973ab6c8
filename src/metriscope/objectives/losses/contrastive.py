"""Contrastive loss over pairs."""

from torch import Tensor

from metriscope.objectives.losses.base import Loss, LossOutput, mean_part, reduce
from metriscope.objectives.selection import Comparison, Selection, as_pairs


class ContrastiveLoss(Loss):
    """Positives d^2 (or max(0, d - positive_margin)^2), negatives max(0, margin - d)^2.

    With ``distance=euclidean squared=true reduction=sum`` this is the contrastive loss of [CT]
    (arXiv:2510.02161) and of Hadsell et al. 2006; ``squared=false reduction=mean_active`` is the plain
    form of most libraries, where the means over non-zero positives and non-zero negatives are added.
    The default ``reduction=mean`` divides by all valid pairs.

    Args:
        margin: distance beyond which a negative costs nothing, above 0.
        positive_margin: distance below which a positive costs nothing.
        squared: whether hinges are squared.
        reduction: ``mean``, ``sum`` or ``mean_active``.

    Reports the active ratio of positives and of negatives as ``active_ratio_positive`` and
    ``active_ratio_negative``.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = True

    def __init__(
        self, margin: float = 1.0, positive_margin: float = 0.0, squared: bool = True, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.margin = margin
        self.positive_margin = positive_margin
        self.squared = squared
        self.reduction = reduction

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        distances = comparison.distances
        kinds = (
            (distances - self.positive_margin, pairs.positive),
            (self.margin - distances, pairs.negative),
        )
        totals, actives, terms = zip(*(self._hinges(excess, mask) for excess, mask in kinds), strict=True)
        if self.reduction == "mean_active":
            value = reduce(totals[0], actives[0], actives[0], "mean_active")
            value = value + reduce(totals[1], actives[1], actives[1], "mean_active")
        else:
            value = reduce(totals[0] + totals[1], actives[0], terms[0] + terms[1], self.reduction)
        parts = {
            f"active_ratio_{name}": active / count.clamp_min(1)
            for name, active, count in zip(("positive", "negative"), actives, terms, strict=True)
        }
        parts |= mean_part(totals[0] + totals[1], terms[0] + terms[1], self.reduction)
        return LossOutput(value, actives[0] + actives[1], terms[0] + terms[1], parts)

    def _hinges(self, excess: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hinges = excess.clamp_min(0) * mask
        active = (hinges.detach() > 0).sum()
        return (hinges.square() if self.squared else hinges).sum(), active, mask.sum()
