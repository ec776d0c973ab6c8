"""The base class of losses of softmaxes over similarities divided by a temperature, which may be learned."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from metriscope.objectives.arguments import Positive
from metriscope.objectives.kernels.rules import Rows
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.numerics import log_sum_exp, mean_of
from metriscope.objectives.output import LossOutput

Share = Annotated[float, Field(ge=0, lt=1)]


class TemperedLoss(Loss):
    """Base class: what the softmax losses have in common.

    A learned temperature is exp(-g), g a parameter without bounds that begins at -log of the temperature, and learns
    with the loss's learning rate (``optimizer.lr_loss``); the part ``temperature`` tells it.

    Args:
        temperature: above 0; where it is learned, at the beginning.
        learn_temperature: whether it is learned; None for no.
        smoothing: e, the share of the target that is spread evenly over all entries of the softmax; None for 0.
    """

    log_scale: nn.Parameter | None

    def __init__(
        self, temperature: Positive, learn_temperature: bool | None = None, smoothing: Share | None = None
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.smoothing = smoothing or 0.0
        start = nn.Parameter(torch.tensor(-math.log(temperature))) if learn_temperature else None
        self.register_parameter("log_scale", start)

    def logits(self, similarities: Tensor) -> Tensor:
        """Similarities over the temperature, differentiable."""
        return similarities / self.temperature if self.log_scale is None else similarities * self.log_scale.exp()

    def likelihood(self, rows: Rows) -> Tensor:
        """Cross-entropies (r, 1) of the softmax over an anchor's pairs, to targets that its positives share evenly."""
        logits, every = self.logits(rows.values), rows.pulled + rows.negative
        pull = mean_of(logits, rows.positive)
        if self.smoothing:
            pull = (1 - self.smoothing) * pull + self.smoothing * mean_of(logits, every)
        return log_sum_exp(logits, every, rows.weighed) - pull

    def told(self, output: LossOutput) -> LossOutput:
        """The same with the temperature among its parts, if it is learned."""
        if self.log_scale is None:
            return output
        return output._replace(parts={**output.parts, "temperature": (-self.log_scale.detach()).exp()})
