"""The rule of tuplets with a slack for positives, with slopes by hand."""

import math

import torch

from metriscope.objectives.kernels.rules import Judged, Rows, Rule
from metriscope.objectives.numerics import masked_softmax, softplus

LEAST_SQUARED_SINE = 1e-6
"""The slope of an angle by its cosine is infinite at angle 0, so that angles are raised to at least 0.001 rad there."""


def with_slack(margin: float, scale: float) -> Rule:
    """sum_p log(1 + sum_n e^(scale (cos t_n - cos(t_p - margin)))); 1.5 times as fast as the formula.

    Args:
        margin: in degrees.
        scale: of cosines.
    """
    cosine, sine = math.cos(math.radians(margin)), math.sin(math.radians(margin))

    def judge(rows: Rows) -> Judged:
        s = rows.values
        chances, push = masked_softmax(s * scale, rows.negative, rows.weighed)
        squared = torch.addcmul(s.new_ones(()), s, s, value=-1)
        inverse = squared.clamp_min(LEAST_SQUARED_SINE).rsqrt_()
        losses, slopes = softplus(torch.sub(push, s * cosine + sine * inverse.reciprocal(), alpha=scale))
        slopes.mul_(rows.positive)
        by_slack = inverse.mul_(squared >= LEAST_SQUARED_SINE).mul_(s).mul_(-sine).add_(cosine)
        factor = scale * rows.share
        weights = chances.mul_(slopes.sum(1, keepdim=True) * factor).sub_(slopes.mul_(by_slack).mul_(factor))
        return Judged(torch.linalg.vecdot(losses, rows.positive).unsqueeze(1), (weights,))

    return Rule(judge)
