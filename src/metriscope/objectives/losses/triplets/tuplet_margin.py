"""Tuplet margin loss."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.numerics import masked_softmax, numbers, softplus
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, as_pairs

# The slope of an angle by its cosine is infinite at angle 0, so that angles are raised to at least 0.001 rad there.
_LEAST_SQUARED_SINE = 1e-6


class TupletMarginLoss(Loss):
    """Mean over positive pairs (a, p) of log(1 + sum_n e^(scale (cos t_an - cos(t_ap - margin)))).

    Yu and Tao, Deep Metric Learning with Tuplet Margin Loss, ICCV 2019, with t the angle between embeddings. The slack
    ``margin`` lets positives stay that far apart, against overfitting to hard triplets. The paper draws one negative of
    each other class; here n runs over all selected negatives of a. The sum over negatives is the same for all positives
    of an anchor, so no tensor of the size of all tuplets is needed. The paper's second part, the intra-pair variance
    loss, is not included.

    Equal to pytorch-metric-learning's ``TupletMarginLoss``, whose gradient is NaN where a positive coincides with its
    anchor, and which counts pairs without any negative as zeros.

    Args:
        margin: the slack beta, in degrees, at least 0 and below 90; 5.73 degrees are 0.1 rad, as in the paper.
        scale: s, above 0.

    ``terms`` are the positive pairs whose anchor has a negative, all of them active.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    weighable = frozenset({"pairs", "rows"})
    paper = "Yu & Tao, ICCV 2019"

    def __init__(self, margin: Annotated[float, Field(ge=0, lt=90)] = 5.73, scale: Positive = 64.0) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        return mean_over_anchors(comparison, pairs, self._rule, per_pair=True)

    def _rule(self, rows: Tensor, positive: Tensor, negative: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        cosine, sine = math.cos(math.radians(self.margin)), math.sin(math.radians(self.margin))
        chances, push = masked_softmax(rows * self.scale, negative)
        squared = torch.addcmul(rows.new_ones(()), rows, rows, value=-1)
        inverse = squared.clamp_min(_LEAST_SQUARED_SINE).rsqrt_()
        losses, slopes = softplus(torch.sub(push, rows * cosine + sine * inverse.reciprocal(), alpha=self.scale))
        pulled = numbers(positive, rows.dtype)
        slopes.mul_(pulled)
        by_slack = inverse.mul_(squared >= _LEAST_SQUARED_SINE).mul_(rows).mul_(-sine).add_(cosine)
        scale = self.scale * share
        weights = chances.mul_(slopes.sum(1, keepdim=True) * scale).sub_(slopes.mul_(by_slack).mul_(scale))
        return torch.linalg.vecdot(losses, pulled).unsqueeze(1), weights
