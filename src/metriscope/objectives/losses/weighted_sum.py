"""The weighted sum of several losses."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from metriscope.objectives.arguments import NonNegative
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection
from metriscope.parts import ArgumentError


class SumLoss(Loss):
    """sum_k weight_k * loss_k over the same batch, comparison and selection.

    ``active`` and ``terms`` are the sums over the losses. The parts ``loss_<k>`` and ``active_ratio_<k>`` report each
    loss (k from 0, in the order given).

    Args:
        losses: the parts; those that take no miner ignore the selection.
        weights: one factor for each, at least 0.
    """

    # The selections common to all parts are known only with the parts: see ``metriscope.config.rules``.
    accepts = frozenset({"all", "band", "pairs", "triplets", "none"})

    def __init__(self, losses: Sequence[Loss], weights: Sequence[NonNegative]) -> None:
        super().__init__()
        self.losses = nn.ModuleList(losses)
        self.weights = tuple(weights)
        self.hinge = all(loss.hinge for loss in losses)  # type: ignore[misc]
        self.bound_to_classes = any(loss.bound_to_classes for loss in losses)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        losses, weights = arguments["losses"], arguments["weights"]
        if not losses:
            raise ArgumentError("losses", [], "it has to name one loss at least")
        if len(losses) != len(weights):
            raise ArgumentError("weights", list(weights), f"it has to be a list of {len(losses)}, one for each loss")

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        outputs: list[LossOutput] = [loss(comparison, selection) for loss in self.losses]
        value = torch.stack([w * o.value for w, o in zip(self.weights, outputs, strict=True)]).sum()
        parts = {}
        for k, output in enumerate(outputs):
            parts[f"loss_{k}"] = output.value.detach()
            if output.active is not None:
                parts[f"active_ratio_{k}"] = output.active / output.terms.clamp_min(1)
        actives = [output.active for output in outputs if output.active is not None]
        return LossOutput(
            value,
            torch.stack(actives).sum() if len(actives) == len(outputs) else None,
            torch.stack([output.terms for output in outputs]).sum(),
            parts,
            # Pair weights are read from the distances where any part uses them.
            None if comparison.made else outputs[0].similarities,
        )
