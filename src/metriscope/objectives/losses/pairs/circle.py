"""Circle loss over pairs."""

from torch import Tensor

from metriscope.objectives.arguments import Positive, UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.numerics import masked_softmax, softplus
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, as_pairs


class CircleLoss(Loss):
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

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    weighable = frozenset({"pairs", "rows"})
    paper = "arXiv:2002.10857"

    def __init__(self, margin: UnitInterval = 0.4, gamma: Positive = 80.0) -> None:
        super().__init__()
        self.margin = margin
        self.gamma = gamma

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        return mean_over_anchors(comparison, pairs, self._rule)

    def _rule(self, rows: Tensor, positive: Tensor, negative: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        pull = (1 + self.margin - rows).clamp_min_(0).mul_(self.gamma)
        push = (rows + self.margin).clamp_min_(0).mul_(self.gamma)
        pulls, log_pull = masked_softmax((1 - self.margin - rows).mul_(pull), positive)
        pushes, log_push = masked_softmax((rows - self.margin).mul_(push), negative)
        losses, slope = softplus(log_pull + log_push)
        slope *= share
        return losses, pushes.mul_(push.mul_(slope)).sub_(pulls.mul_(pull.mul_(slope)))
