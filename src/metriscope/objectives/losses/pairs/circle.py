"""Circle loss over pairs."""

from torch import Tensor

from metriscope.objectives.arguments import Positive, UnitInterval
from metriscope.objectives.kernels import pairs
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.numerics import log_sum_exp, soft_hinge


class CircleLoss(RowLoss):
    """Mean over anchors of log(1 + sum_n e^(gamma w_n (s_an - m)) sum_p e^(-gamma w_p (s_ap - 1 + m))).

    Sun et al., arXiv:2002.10857, with its optima and margins: w_n = max(0, s_an + m) and
    w_p = max(0, 1 + m - s_ap) make the pull of each pair grow with its distance from its optimum. They are constants,
    without a gradient. s is the cosine similarity.

    Equal to pytorch-metric-learning's ``CircleLoss`` as long as no anchor's loss underflows to exactly zero:
    pytorch-metric-learning averages over non-zero anchors.

    Args:
        margin: m, between 0 and 1; 0.4 for image retrieval in the paper, 0.25 for faces.
        gamma: scale, above 0; 80 for image retrieval in the paper, 256 for faces.

    ``terms`` are the anchors that have a positive and a negative, all of them active.
    """

    needs_cosines = True
    paper = "arXiv:2002.10857"

    def __init__(self, margin: UnitInterval = 0.4, gamma: Positive = 80.0) -> None:
        super().__init__()
        self.margin = margin
        self.gamma = gamma

    def formula(self, rows: Rows) -> Tensor:
        s, m = rows.values, self.margin
        pull = (1 + m - s).clamp_min(0).detach() * self.gamma
        push = (s + m).clamp_min(0).detach() * self.gamma
        pulls = log_sum_exp(pull * (1 - m - s), rows.positive, rows.weighed)
        pushes = log_sum_exp(push * (s - m), rows.negative, rows.weighed)
        return soft_hinge(pulls + pushes)

    def kernel(self) -> Rule:
        return pairs.circle(self.margin, self.gamma)
