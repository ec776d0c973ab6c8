"""InfoNCE with labels."""

from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.kernels import softmax
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.numerics import log_sum_exp, soft_hinge


class InfoNCELoss(RowLoss):
    """Mean over positive pairs (a, p) of -log(exp(s_ap / t) / (exp(s_ap / t) + sum_n exp(s_an / t))).

    Van den Oord et al., arXiv:1807.03748, with cosine similarity over a temperature as the logarithm of
    the density ratio. Each positive makes its own term, which leaves out the anchor's other positives: one positive
    among negatives, as in the paper. (``supcon`` has all positives in the denominator.) Anchors without a negative are
    left out.

    Equals pytorch-metric-learning's ``NTXentLoss`` except for the positives of anchors without a selected negative,
    which that loss counts as zeros.

    Args:
        temperature: t, above 0; the paper has no temperature, pytorch-metric-learning uses 0.07.

    ``terms`` are the positive pairs of the mean, all of them active.
    """

    paper = "arXiv:1807.03748"
    per_pair = True

    def __init__(self, temperature: Positive = 0.07) -> None:
        super().__init__()
        self.temperature = temperature

    def formula(self, rows: Rows) -> Tensor:
        logits = rows.values / self.temperature
        terms = soft_hinge(log_sum_exp(logits, rows.negative, rows.weighed) - logits)
        return (terms * rows.positive).sum(1, keepdim=True)

    def kernel(self) -> Rule:
        return softmax.one_among_negatives(self.temperature)
