"""Tuplet margin loss."""

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.kernels import tuplets
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.numerics import log_sum_exp, soft_hinge


class TupletMarginLoss(RowLoss):
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

    needs_cosines = True
    paper = "Yu & Tao, ICCV 2019"
    per_pair = True

    def __init__(self, margin: Annotated[float, Field(ge=0, lt=90)] = 5.73, scale: Positive = 64.0) -> None:
        super().__init__()
        self.margin = margin
        self.scale = scale

    def formula(self, rows: Rows) -> Tensor:
        s, slack = rows.values, math.radians(self.margin)
        sine = (1 - s * s).clamp_min(tuplets.LEAST_SQUARED_SINE).sqrt()
        slackened = s * math.cos(slack) + sine * math.sin(slack)
        every = log_sum_exp(self.scale * s, rows.negative, rows.weighed)
        return (soft_hinge(every - self.scale * slackened) * rows.positive).sum(1, keepdim=True)

    def kernel(self) -> Rule:
        return tuplets.with_slack(self.margin, self.scale)
