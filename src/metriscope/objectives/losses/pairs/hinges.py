"""The base class of losses that add a hinge for each pair."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Reduction
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.gradient import KnownGradient
from metriscope.objectives.kernels.hinged_rows import hinged_rows
from metriscope.objectives.kernels.numerics import numbers
from metriscope.objectives.losses.base import Loss, mean_part, reduce
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, as_pairs
from metriscope.parts import ArgumentError


class PairHinges(Loss):
    """Positives max(0, d - positive_margin), negatives max(0, margin - d), squared or not.

    Args:
        margin: distance beyond which a negative costs nothing, above 0.
        positive_margin: distance below which a positive costs nothing, at least 0.
        squared: whether hinges are squared.
        reduction: ``mean`` over all pairs, ``sum``, or ``mean_active``: the means over non-zero positives and over
            non-zero negatives, added.

    Reports the active ratio of positives and of negatives as ``active_ratio_positive`` and
    ``active_ratio_negative``.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = True

    def __init__(
        self,
        margin: NonNegative = 1.0,
        positive_margin: NonNegative = 0.0,
        squared: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.margin = margin
        self.positive_margin = positive_margin
        self.squared = squared
        self.reduction = reduction

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        if arguments["margin"] == 0:
            raise ArgumentError(
                "margin", arguments["margin"], "no negative pair would ever cost anything; set it above 0"
            )

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        distances = comparison.distances
        found = hinged_rows(distances, pairs.positive, pairs.negative, self._rule, sums=2, counts=2, complete=False)
        totals, terms = found.losses.sum(0, dtype=torch.float64), found.sizes.sum(0)
        total, every = totals.sum(), terms.sum()
        if self.reduction == "mean_active":
            scales = reduce(torch.ones_like(totals), found.active, found.active, "mean_active")
            value = (totals * scales).sum()
            # Weights of positives are above 0, those of negatives below.
            by_pull, by_push = scales.to(distances.dtype)
            weights = F.prelu(found.weights, by_push / by_pull).mul_(by_pull)
        else:
            scale = reduce(torch.ones_like(total), every, every, self.reduction)
            weights, value = found.weights.mul_(scale), total * scale
        attached: Tensor = KnownGradient.apply(distances, weights, value)
        ratios = found.active / terms.clamp_min(1)
        parts = {"active_ratio_positive": ratios[0], "active_ratio_negative": ratios[1]}
        return LossOutput(attached, found.active.sum(), every, parts | mean_part(total, every, self.reduction))

    def _rule(self, rows: Tensor, positive: Tensor, negative: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pulls = (rows - self.positive_margin).clamp_min_(0).mul_(numbers(positive, rows.dtype))
        pushes = (self.margin - rows).clamp_min_(0).mul_(numbers(negative, rows.dtype))
        signs = pulls.sign(), pushes.sign()
        active = torch.stack([sign.sum(1) for sign in signs], 1).long()
        if self.squared:
            losses = torch.stack([torch.linalg.vecdot(hinges, hinges) for hinges in (pulls, pushes)], 1)
            return losses, pulls.sub_(pushes).mul_(2), active
        return torch.stack([pulls.sum(1), pushes.sum(1)], 1), signs[0].sub_(signs[1]), active
