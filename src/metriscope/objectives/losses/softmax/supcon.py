"""Supervised contrastive loss (SCL)."""

from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.kernels import softmax
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.numerics import log_sum_exp, mean_of


class SupConLoss(RowLoss):
    """Mean over anchors i of -1/|P(i)| sum_{p in P(i)} log(exp(s_ip / t) / sum_{a in A(i)} exp(s_ia / t)).

    L_out of Khosla et al., arXiv:2004.11362: s the cosine similarity, t the temperature, P(i) the
    positives of i and A(i) its positives and negatives, that is everything but i itself. The mean over
    positives is outside the logarithm. Anchors without a positive or without a negative are left out.

    pytorch-metric-learning's ``SupConLoss`` is the same, with two exceptions: that library counts an anchor without a
    selected negative, and leaves out an anchor whose loss is exactly zero.

    Args:
        temperature: t, above 0; 0.1 in the paper.

    ``terms`` are the anchors of the mean, all of them active.
    """

    paper = "arXiv:2004.11362"

    def __init__(self, temperature: Positive = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def formula(self, rows: Rows) -> Tensor:
        logits = rows.values / self.temperature
        every = log_sum_exp(logits, rows.pulled + rows.negative, rows.weighed)
        return every - mean_of(logits, rows.positive)

    def kernel(self) -> Rule:
        return softmax.likelihood(self.temperature)
