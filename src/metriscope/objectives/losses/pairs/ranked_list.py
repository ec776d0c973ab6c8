"""Ranked list loss."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Positive, UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.gradient import KnownGradient
from metriscope.objectives.kernels.hinged_rows import hinged_rows
from metriscope.objectives.kernels.numerics import masked_softmax, numbers
from metriscope.objectives.losses.base import Loss, mean_part
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection
from metriscope.parts import ArgumentError


class RankedListLoss(Loss):
    """Mean over anchors of (1 - balance) L_P + balance L_N, weighted means of an anchor's non-zero hinges.

    Wang et al., arXiv:1903.03238. Positives beyond alpha - margin and negatives within alpha are an
    anchor's non-trivial points. L_P is the mean of the positives' h = d - (alpha - margin), weighted by
    e^(temperature_positive h), and L_N that of the negatives' h = alpha - d, weighted by e^(temperature_negative h).
    The loss selects its pairs itself and needs no miner. Anchors without a positive or without a negative are left out.

    In the paper weights set the size of gradients and are constants; ``detach_weights=false`` differentiates them too.
    pytorch-metric-learning's ``RankedListLoss`` also differentiates them, and adds 1e-5 to every weight in the
    denominators.

    Args:
        alpha: distance that negatives have to keep, above 0 and at least ``margin``.
        margin: m, how much closer positives have to be, at least 0.
        balance: lambda, the share of the negatives, between 0 and 1.
        temperature_positive, temperature_negative: sharpness of the weights towards harder pairs, at least 0; 0 gives
            equal weights.
        detach_weights: whether weights are constants.

    ``terms`` are the pairs of these anchors, ``active`` their non-zero hinges; ``loss_mean`` is the mean of the
    hinges over all terms, since the loss itself is a mean over non-zero hinges only.
    """

    accepts = frozenset({"all", "none"})
    hinge = True
    paper = "arXiv:1903.03238"

    def __init__(
        self,
        alpha: Positive = 1.2,
        margin: NonNegative = 0.4,
        balance: UnitInterval = 0.5,
        temperature_positive: NonNegative = 0.0,
        temperature_negative: NonNegative = 10.0,
        detach_weights: bool = True,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.margin = margin
        self.balance = balance
        self.temperature_positive = temperature_positive
        self.temperature_negative = temperature_negative
        self.detach_weights = detach_weights

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        alpha, margin = arguments["alpha"], arguments["margin"]
        if alpha < margin:
            rule = f"it has to be at least margin={margin}: positives would have to be closer than 0"
            raise ArgumentError("alpha", alpha, rule)

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        positive, negative = comparison.positive, comparison.negative
        found = hinged_rows(comparison.distances, positive, negative, self._rule, sums=2, counts=2)
        value, hinges = found.losses.sum(0, dtype=torch.float64)
        sizes = found.sizes.sum(0)
        active, terms = found.active.sum(), sizes.sum()
        total: Tensor = KnownGradient.apply(comparison.distances, found.weights, value)
        parts = {
            "active_ratio_positive": found.active[0] / sizes[0].clamp_min(1),
            "active_ratio_negative": found.active[1] / sizes[1].clamp_min(1),
            **mean_part(hinges, terms, "mean_active"),
        }
        return LossOutput(total / found.anchors.sum().clamp_min(1), active, terms, parts)

    def _rule(self, rows: Tensor, positive: Tensor, negative: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pull = self._side(rows - (self.alpha - self.margin), positive, self.temperature_positive, 1 - self.balance)
        push = self._side(self.alpha - rows, negative, self.temperature_negative, self.balance)
        (pulled, by_pull, pulls), (pushed, by_push, pushes) = pull, push
        return pulled + pushed, by_pull.sub_(by_push), torch.cat([pulls, pushes], 1)

    def _side(self, hinges: Tensor, mask: Tensor, temperature: float, share: float) -> tuple[Tensor, Tensor, Tensor]:
        active = mask & (hinges > 0)
        count = active.sum(1, keepdim=True, dtype=torch.int32)
        weights, _ = masked_softmax(hinges * temperature, active)
        hinges.mul_(numbers(active, hinges.dtype))
        mean = torch.linalg.vecdot(weights, hinges).unsqueeze(1)
        losses = torch.cat([share * mean, hinges.sum(1, keepdim=True)], 1)
        if not self.detach_weights:
            weights.mul_(hinges.sub_(mean).mul_(temperature).add_(1))
        return losses, weights.mul_((count > 0).to(weights.dtype) * share), count
