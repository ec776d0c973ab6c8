"""iSogCLR: SogCLR with a temperature of its own for each sample of the training set."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count, NonNegative, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.softmax.global_contrastive import GlobalContrastiveLoss, Momentum
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection
from metriscope.parts import ArgumentError


class ISogCLRLoss(GlobalContrastiveLoss):
    """Mean over anchors i of t_i (log u_i + rho) - mean_p s_ip, with a temperature t_i for each sample.

    Qiu et al., arXiv:2305.11965 (as read in the authors' code; the paper was not read). u is the moving average of
    ``sogclr``, taken with the sample's temperature, and not rescaled when that changes. After the step
    g_i = log u_i + rho - sum_n w_in s_in / t_i, clipped to ``clip``, v_i = (1 - beta) v_i + beta g_i, and
    t_i = t_i - eta v_i, within ``temperature_min`` and ``temperature_max``. No gradient flows through temperatures.

    Where t_i rests, the weights of the negatives have the divergence KL(w || uniform) = rho. So rho has to be below
    log |N(i)|, or every temperature falls to its minimum: of 400 negatives at most 6. Samples that are none of the
    training set, and outside of training those that were never visited, have the mean temperature. A sample that is in
    the batch more than once averages its g_i.

    Args:
        num_samples: of the training set; None where there is none, so that nothing is remembered.
        temperature: all t at the beginning, within their bounds; 0.1 in the authors' code of CIFAR-100.
        gamma: as of ``sogclr``.
        rho: how far the weights of negatives may be from uniform, at least 0; 0.4 in the authors' code of single views,
            0.3 in LibAUC, 6 in the authors' code of image and text.
        eta: step of the temperatures, at least 0; 0.03 in the authors' code, 0.01 in LibAUC.
        beta: weight of the step in v, above 0; 0.5 in the authors' code of CIFAR-100, 0.9 in LibAUC.
        clip: the largest g, above 0; 3 in the authors' code.
        temperature_min, temperature_max: bounds of the temperatures, above 0.

    The state is 12 bytes per sample, log u, t and v, and in the checkpoint. The part ``temperature`` is the mean of t
    over anchors; further parts and ``terms`` as of ``sogclr``.
    """

    paper = "arXiv:2305.11965"

    def __init__(
        self,
        num_samples: Count | None = None,
        temperature: Positive = 0.1,
        gamma: Momentum = 0.9,
        rho: NonNegative = 0.3,
        eta: NonNegative = 0.01,
        beta: Momentum = 0.9,
        clip: Positive = 3.0,
        temperature_min: Positive = 0.05,
        temperature_max: Positive = 0.7,
    ) -> None:
        super().__init__(num_samples, gamma, rho, temperature=temperature, drift=0.0)
        self.eta = eta
        self.beta = beta
        self.clip = clip
        self.bounds = temperature_min, temperature_max

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        lowest, start, highest = (arguments[f"temperature{end}"] for end in ("_min", "", "_max"))
        if not lowest <= start <= highest:
            rule = f"it has to be between temperature_min={lowest} and temperature_max={highest}"
            raise ArgumentError("temperature", start, rule)

    @classmethod
    def check_batch(cls, arguments: Mapping[str, Any], most: int) -> None:
        """Refuse a budget of divergence that the weights of as many negatives as there can be never have.

        Args:
            most: samples that an anchor is compared with, at most, itself included.
        """
        limit = math.log(max(most - 1, 2))
        if arguments["rho"] >= limit:
            rule = f"it has to be below log {most - 1} = {limit:.3g}, the most that {most - 1} negatives can diverge"
            raise ArgumentError("rho", arguments["rho"], rule)

    def temperatures(self, index: Tensor) -> Tensor:
        own = index >= 0 if self.training else self.state.read("log_mean", index) > -math.inf
        every: Tensor = self.state.get_buffer("temperature")
        return torch.where(own, self.state.read("temperature", index), every.mean())

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        output = super().forward(comparison, selection)
        assert output.pending is not None
        counted = output.pending[:, 2]
        own = self.temperatures(self.known(comparison.anchors.index)).to(counted.dtype)
        mean = (own * counted).sum() / output.terms.clamp_min(1)
        return output._replace(parts={**output.parts, "temperature": mean})

    def learn(self, index: Tensor, excess: Tensor) -> None:
        drift = self.state.read("drift", index)
        self.state.write("drift", index, drift + self.beta * (excess.clamp(-self.clip, self.clip) - drift))
        changed = self.state.read("temperature", index) - self.eta * self.state.read("drift", index)
        self.state.write("temperature", index, changed.clamp(*self.bounds))
