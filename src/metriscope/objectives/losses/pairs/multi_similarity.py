"""Multi-similarity loss."""

from torch import Tensor

from metriscope.objectives.arguments import Positive, Similarity
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.numerics import masked_softmax, softplus
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, as_pairs


class MultiSimilarityLoss(Loss):
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

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    weighable = frozenset({"pairs", "rows"})
    paper = "arXiv:1904.06627"

    def __init__(self, alpha: Positive = 2.0, beta: Positive = 50.0, base: Similarity = 1.0) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.base = base

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        return mean_over_anchors(comparison, pairs, self._rule)

    def _rule(self, rows: Tensor, positive: Tensor, negative: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        pull, by_pull = _soft_excess(self.base - rows, positive, self.alpha, share)
        push, by_push = _soft_excess(rows - self.base, negative, self.beta, share)
        return pull + push, by_push.sub_(by_pull)


def _soft_excess(excess: Tensor, mask: Tensor, sharpness: float, share: Tensor) -> tuple[Tensor, Tensor]:
    """log(1 + sum e^(sharpness excess)) / sharpness of each row, and ``share`` times its derivative."""
    chances, log_sum = masked_softmax(excess.mul_(sharpness), mask)
    value, slope = softplus(log_sum)
    return value / sharpness, chances.mul_(slope * share)
