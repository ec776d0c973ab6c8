"""Threshold-consistent margin (TCM), a regulariser of pairs."""

import torch

from metriscope.objectives.arguments import NonNegative, Similarity
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import Judged, Rows, Rule
from metriscope.objectives.losses.base import Loss, mean_part
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, unbanded


class ThresholdConsistentMarginLoss(Loss):
    """Mean of m+ - s over positives with s <= m+, and mean of s - m- over negatives with s >= m-, weighed and added.

    s is the cosine similarity. Zhang et al., arXiv:2307.04047 (as read in pytorch-metric-learning, not in the paper),
    add it to a loss, so that one threshold of similarity serves all classes: ``loss=sum`` with it as an entry.
    It touches the hard pairs alone, and works alone as well.

    Equal to pytorch-metric-learning's ``ThresholdConsistentMarginLoss``, which takes no further references.

    Args:
        positive_margin: m+, a similarity.
        negative_margin: m-, a similarity.
        positive_weight, negative_weight: factors of both means, at least 0.

    ``terms`` are all pairs, ``active`` those at or beyond their margin. Reports the active ratio of positives and of
    negatives as ``active_ratio_positive`` and ``active_ratio_negative``.
    """

    needs_cosines = True
    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = True
    paper = "arXiv:2307.04047"

    def __init__(
        self,
        positive_margin: Similarity = 0.9,
        negative_margin: Similarity = 0.5,
        positive_weight: NonNegative = 1.0,
        negative_weight: NonNegative = 1.0,
    ) -> None:
        super().__init__()
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin
        self.positive_weight = positive_weight
        self.negative_weight = negative_weight

    def formula(self, rows: Rows) -> Judged:
        """Sums over positives and over negatives (r, 2), differentiable, and how many of either are active."""
        pulls, pushes = self.positive_margin - rows.values, rows.values - self.negative_margin
        sides = ((pulls, rows.positive), (pushes, rows.negative))
        losses = torch.stack([(excess.clamp_min(0) * mask).sum(1) for excess, mask in sides], 1)
        return Judged(losses, active=torch.stack([((excess >= 0) & (mask > 0)).sum(1) for excess, mask in sides], 1))

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        rule = Rule(self.formula, sums=2, counts=2, complete=False, plain=True)
        found = over_rows(comparison, unbanded(selection), rule)
        active, terms, sums = found.active, found.sizes.sum(0), found.losses.sum(0, dtype=torch.float64)
        weights = sums.new_tensor([self.positive_weight, self.negative_weight])
        ratios = active / terms.clamp_min(1)
        parts = {"active_ratio_positive": ratios[0], "active_ratio_negative": ratios[1]}
        parts |= mean_part((weights * sums).sum(), terms.sum(), "mean_active")
        return found.output((weights / active.clamp_min(1)).unbind(), active.sum(), terms.sum(), parts)
