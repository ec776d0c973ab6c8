"""Multi-similarity loss."""

from torch import Tensor

from metriscope.objectives.arguments import Positive, Similarity
from metriscope.objectives.kernels import pairs
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.numerics import log_sum_exp, soft_hinge


class MultiSimilarityLoss(RowLoss):
    """log(1 + sum_p e^(-alpha (s_ap - base))) / alpha + log(1 + sum_n e^(beta (s_an - base))) / beta of each anchor.

    Wang et al., arXiv:1904.06627, with s the cosine similarity. The weight of a pair depends on its own similarity and,
    through the sums, on those of the anchor's other pairs. The paper mines pairs first (``miner=multi_similarity``).
    The mean is over anchors that have a positive and a negative; the paper counts the others as zeros.

    Equal to pytorch-metric-learning's ``MultiSimilarityLoss`` where every anchor has positives and negatives; for other
    anchors that library keeps the existing side.

    Args:
        alpha: sharpness on positives, above 0.
        beta: sharpness on negatives, above 0.
        base: lambda, the similarity at which weights set in, between -1 and 1. The paper uses 1, where negatives have
            almost no weight until they nearly coincide with the anchor; its published code and pytorch-metric-learning
            use 0.5.

    ``terms`` are the anchors of the mean, all of them active.
    """

    needs_cosines = True
    paper = "arXiv:1904.06627"

    def __init__(self, alpha: Positive = 2.0, beta: Positive = 50.0, base: Similarity = 1.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.base = base

    def formula(self, rows: Rows) -> Tensor:
        excess = rows.values - self.base
        pull = soft_hinge(log_sum_exp(-self.alpha * excess, rows.positive, rows.weighed)) / self.alpha
        push = soft_hinge(log_sum_exp(self.beta * excess, rows.negative, rows.weighed)) / self.beta
        return pull + push

    def kernel(self) -> Rule:
        return pairs.multi_similarity(self.alpha, self.beta, self.base)
