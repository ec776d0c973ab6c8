"""Neighbourhood components analysis."""

from typing import Literal

from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.kernels import softmax
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.numerics import log_sum_exp


class NCALoss(RowLoss):
    """Mean over anchors of -log p_i (or 1 - p_i), p_i = sum_{j in P(i)} softmax(-scale d_ij)_j.

    Goldberger, Roweis, Hinton, Salakhutdinov: Neighbourhood Components Analysis, NIPS 2004: p_i is the chance that i
    picks a neighbour of its class, when it picks among all others (positives and negatives) in proportion to exp(-d), d
    the squared Euclidean distance. The paper has both objectives: ``expected`` maximises the expected number of points
    classified correctly, sum_i p_i (its first objective), ``log`` the chance of an error-free classification,
    sum_i log p_i. ``log`` is the default because its gradient does not vanish where p_i is near 0, and because deep
    learning uses this form. Anchors without a positive or without a negative are left out.

    pytorch-metric-learning's ``NCALoss`` is ``objective=log``; it drops anchors whose p_i underflows, and
    turns a miner into weights of anchors, whereas here the miner selects the pairs.

    Args:
        scale: factor of the distance, above 0; 1 in the paper, where the learnt map includes the scale.
        objective: ``log`` or ``expected``.

    ``terms`` are the anchors of the mean, all of them active.
    """

    paper = "Goldberger et al., NIPS 2004"
    of_distances = True

    def __init__(self, scale: Positive = 1.0, objective: Literal["log", "expected"] = "log") -> None:
        super().__init__()
        self.scale = scale
        self.objective = objective

    def formula(self, rows: Rows) -> Tensor:
        logits = rows.values * -self.scale
        every = log_sum_exp(logits, rows.positive + rows.negative, rows.weighed)
        own = log_sum_exp(logits, rows.positive, rows.weighed)
        return every - own if self.objective == "log" else 1 - (own - every).exp()

    def kernel(self) -> Rule:
        return (softmax.neighbours if self.objective == "log" else softmax.expected_neighbours)(self.scale)
