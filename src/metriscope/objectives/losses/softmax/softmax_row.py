"""The base class of losses of the softmax over an anchor's row, whose terms may have focal weights or soft targets."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.losses.softmax.tempered import Share, TemperedLoss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection
from metriscope.parts import ArgumentError


class SoftmaxRowLoss(TemperedLoss, RowLoss):
    """Base class: a term -log p, p the chance of a positive, may weigh (1 - p)^focal.

    Args:
        temperature, learn_temperature, smoothing: as of :class:`TemperedLoss`.
        focal: the exponent; None for 0.
        focal_detach: whether the weights are held fixed; None for no.
    """

    def __init__(
        self,
        temperature: Positive,
        focal: NonNegative | None,
        focal_detach: bool | None,
        smoothing: Share | None,
        learn_temperature: bool | None,
    ) -> None:
        super().__init__(temperature, learn_temperature, smoothing)
        self.focal = focal or 0.0
        self.focal_detach = bool(focal_detach)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        if arguments["focal_detach"] and not arguments["focal"]:
            raise ArgumentError("focal_detach", True, "there are no focal weights to hold fixed; set focal above 0")
        if arguments["focal"] and arguments["smoothing"]:
            rule = "focal weights are those of a single target; set smoothing=null, or leave focal out"
            raise ArgumentError("focal", arguments["focal"], rule)

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        return self.told(super().forward(comparison, selection))

    def plain(self) -> bool:
        """Whether nothing but the temperature is set, as the slopes by hand have it."""
        return not self.focal and not self.smoothing

    def focal_terms(self, log_chances: Tensor) -> Tensor:
        """log p, at most 0 -> -(1 - p)^focal log p, with a finite slope at p = 1."""
        if not self.focal:
            return -log_chances
        missed = (-torch.expm1(log_chances)).clamp_min(torch.finfo(log_chances.dtype).tiny) ** self.focal
        return -(missed.detach() if self.focal_detach else missed) * log_chances
