"""The base class of losses that add a hinge for each pair."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Reduction
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels import pairs
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import Inputs, Judged, Rows, Rule
from metriscope.objectives.losses.base import Loss, mean_part, reduce
from metriscope.objectives.mixed import mixtures_in
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, unbanded
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

    def formula(self, rows: Rows, scales: Sequence[float | Tensor] = (1.0, 1.0)) -> Judged:
        """Sums of the hinges, those of positives and of negatives each scaled, differentiable; and without scales.

        With them, how many of either kind are above zero.
        """
        pulls = (rows.values - self.positive_margin).clamp_min(0) * rows.pulled
        pushes = (self.margin - rows.values).clamp_min(0) * rows.pushed
        sides = ((pulls, rows.positive), (pushes, rows.negative))
        power = 2 if self.squared else 1
        up, down = ((hinges**power * mask).sum(1, keepdim=True) for hinges, mask in sides)
        losses = torch.cat([up * scales[0] + down * scales[1], (up + down).detach()], 1)
        return Judged(losses, active=torch.stack([(hinges > 0).sum(1) for hinges in (pulls, pushes)], 1))

    def rule(self, comparison: Comparison, scales: Sequence[float | Tensor], counted: bool) -> Rule:
        """What the loss makes of distances: the formula, here with slopes by hand.

        Args:
            counted: whether the active hinges are known already.
        """
        return pairs.hinges(self.margin, self.positive_margin, self.squared, scales, counted)

    def counting(self, comparison: Comparison) -> Rule:
        """A rule that counts the active hinges of positives and of negatives."""
        return pairs.active_hinges(self.margin, self.positive_margin)

    def inputs(self, comparison: Comparison) -> Inputs:
        """What the rule depends on beside the distances."""
        return Inputs()

    def _plain(self, scales: Sequence[float | Tensor] = (1.0, 1.0)) -> Rule:
        """The formula: slopes by hand know no weights of pairs."""
        judge = partial(self.formula, scales=scales)
        return Rule(judge, of_distances=True, reported=1, counts=2, complete=False, plain=True)

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        chosen, inputs = unbanded(selection), self.inputs(comparison)
        scales: Sequence[float | Tensor] = (1.0, 1.0)
        active: Tensor | None = None
        weighed = mixtures_in(selection) is not None
        counting = self._plain() if weighed else self.counting(comparison)
        if self.reduction == "mean_active":
            # The scales are known once all pairs were counted.
            comparison.hold()
            with torch.no_grad():
                active = over_rows(comparison, chosen, counting, inputs).active
            scales = (1 / active.clamp_min(1).double()).to(comparison.prepared[0].dtype).unbind()
        rule = self._plain(scales) if weighed else self.rule(comparison, scales, active is not None)
        found = over_rows(comparison, chosen, rule, inputs)
        active = found.active if active is None else active
        terms, total = found.sizes.sum(0), found.losses[:, 1].sum(dtype=torch.float64)
        every, one = terms.sum(), torch.ones_like(total)
        scale = one if self.reduction == "mean_active" else reduce(one, every, every, self.reduction)
        ratios = active / terms.clamp_min(1)
        parts = {"active_ratio_positive": ratios[0], "active_ratio_negative": ratios[1]}
        parts |= mean_part(total, every, self.reduction)
        return found.output(scale, active.sum(), every, parts)
