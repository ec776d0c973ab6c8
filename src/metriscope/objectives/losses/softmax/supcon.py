"""Supervised contrastive loss (SCL)."""

from metriscope.objectives.arguments import Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.likelihood import mean_log_likelihood
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, as_pairs


class SupConLoss(Loss):
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

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    weighable = frozenset({"pairs", "rows"})
    paper = "arXiv:2004.11362"

    def __init__(self, temperature: Positive = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        rule = mean_log_likelihood(self.temperature)
        return mean_over_anchors(comparison, pairs, rule)
