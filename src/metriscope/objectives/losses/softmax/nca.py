"""Neighbourhood components analysis."""

from typing import Literal

from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.numerics import either, masked_softmax, numbers
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, as_pairs


class NCALoss(Loss):
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

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    weighable = frozenset({"pairs", "rows"})
    paper = "Goldberger et al., NIPS 2004"

    def __init__(self, scale: Positive = 1.0, objective: Literal["log", "expected"] = "log") -> None:
        super().__init__()
        self.scale = scale
        self.objective = objective

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        rule = self._expected if self.objective == "expected" else self._log
        return mean_over_anchors(comparison, pairs, rule, of_distances=True)

    def _log(self, rows: Tensor, positive: Tensor, negative: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        logits = rows * -self.scale
        every, log_every = masked_softmax(logits, either(positive, negative))
        own, log_own = masked_softmax(logits, positive)
        return log_every - log_own, own.sub_(every).mul_(share * self.scale)

    def _expected(self, rows: Tensor, positive: Tensor, negative: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        chances, _ = masked_softmax(rows * -self.scale, either(positive, negative))
        own = chances * numbers(positive, rows.dtype)
        chance = own.sum(1, keepdim=True)
        scale = share * self.scale
        return 1 - chance, own.mul_(scale).sub_(chances.mul_(chance * scale))
