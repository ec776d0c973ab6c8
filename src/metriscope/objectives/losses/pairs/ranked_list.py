"""Ranked list loss."""

from collections.abc import Mapping
from typing import Any

import torch

from metriscope.objectives.arguments import NonNegative, Positive, UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels import pairs
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import Judged, Rows
from metriscope.objectives.losses.base import Loss, mean_part
from metriscope.objectives.numerics import log_sum_exp
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, TripletBand
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

    def formula(self, rows: Rows) -> Judged:
        """Losses of some anchors, differentiable, and the sums of their hinges; counts of both kinds."""
        sides = (
            (rows.values - (self.alpha - self.margin), rows.positive, self.temperature_positive, 1 - self.balance),
            (self.alpha - rows.values, rows.negative, self.temperature_negative, self.balance),
        )
        losses, counts = [], []
        for excess, mask, temperature, share in sides:
            active = mask * (excess > 0)
            logits = (excess.detach() if self.detach_weights else excess) * temperature
            # Without an active hinge the sum is 0, and its logarithm far below every other.
            weights = torch.where(active > 0, logits - log_sum_exp(logits, active), 0).exp() * active
            sums = ((excess * factor).sum(1, keepdim=True) for factor in (weights, active))
            losses.append(torch.cat([share * next(sums), next(sums).detach()], 1))
            counts.append(active.sum(1, keepdim=True).long() * (rows.share > 0))
        return Judged(losses[0] + losses[1], active=torch.cat(counts, 1))

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        temperatures = self.temperature_positive, self.temperature_negative
        rule = pairs.ranked_lists(self.alpha, self.margin, self.balance, temperatures, self.detach_weights)
        found = over_rows(comparison, TripletBand(), rule)
        sizes = found.sizes.sum(0)
        active, terms = found.active.sum(), sizes.sum()
        parts = {
            "active_ratio_positive": found.active[0] / sizes[0].clamp_min(1),
            "active_ratio_negative": found.active[1] / sizes[1].clamp_min(1),
            **mean_part(found.losses[:, 1].sum(dtype=torch.float64), terms, "mean_active"),
        }
        return found.output(1 / found.valid.sum().clamp_min(1).double(), active, terms, parts)
