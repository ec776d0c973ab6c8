"""Decoupled contrastive loss (DCL)."""

from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.numerics import masked_softmax, numbers
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, as_pairs


class DecoupledContrastiveLoss(Loss):
    """Mean over positive pairs (a, p) of -s_ap / t + log sum_n exp(s_an / t).

    Yeh et al., arXiv:2110.06848, L_DC: InfoNCE without the positive in the denominator, so that an easy positive no
    longer weakens the push on the negatives. s is the cosine similarity and n runs over the negatives of a, given by
    labels (in the paper: the other images); each positive of an anchor makes a term. Anchors without a negative are
    left out. The value can be negative, so its relative decay means little. pytorch-metric-learning has no such loss.

    Args:
        temperature: t, above 0.

    ``terms`` are the positive pairs of the mean, all of them active.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    weighable = frozenset({"pairs", "rows"})
    paper = "arXiv:2110.06848"

    def __init__(self, temperature: Positive = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        return mean_over_anchors(comparison, pairs, self._rule, per_pair=True)

    def _rule(self, rows: Tensor, positive: Tensor, negative: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        logits = rows / self.temperature
        chances, log_total = masked_softmax(logits, negative)
        pulled = numbers(positive, rows.dtype)
        count = pulled.sum(1, keepdim=True)
        losses = count * log_total - logits.mul_(pulled).sum(1, keepdim=True)
        scale = share / self.temperature
        return losses, chances.mul_(count * scale).sub_(pulled.mul_(scale))
