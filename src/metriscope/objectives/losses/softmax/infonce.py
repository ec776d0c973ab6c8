"""InfoNCE with labels."""

from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.numerics import masked_softmax, numbers, softplus
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, as_pairs


class InfoNCELoss(Loss):
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

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    weighable = frozenset({"pairs", "rows"})
    paper = "arXiv:1807.03748"

    def __init__(self, temperature: Positive = 0.07) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        return mean_over_anchors(comparison, pairs, self._rule, per_pair=True)

    def _rule(self, rows: Tensor, positive: Tensor, negative: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        logits = rows / self.temperature
        chances, log_total = masked_softmax(logits, negative)
        behind = logits.neg_().add_(log_total)
        losses, pull = softplus(behind)
        counted = numbers(positive, rows.dtype)
        pull.mul_(counted)
        scale = share / self.temperature
        weights = chances.mul_(pull.sum(1, keepdim=True)).sub_(pull).mul_(scale)
        return losses.mul_(counted).sum(1, keepdim=True), weights
