"""Simple contrastive loss: the contrastive softmax without its preference for hard negatives."""

from torch import Tensor

from metriscope.objectives.arguments import NonNegative
from metriscope.objectives.kernels.rules import Rows
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.numerics import mean_of


class SimpleContrastiveLoss(RowLoss):
    """Mean over positive pairs (i, p) of -s_ip + l mean_n s_in.

    Wang and Liu, arXiv:2012.09740 (as others quote it, not read in the paper): what is left of InfoNCE at a large
    temperature, where every negative is pushed alike; a baseline for losses that push hard negatives more. The paper
    sums over the negatives of an image; here labels say what they are, and l weighs their mean, so that it does not
    depend on the batch. With a miner of hard negatives it is the paper's hard simple loss. s is the cosine similarity.
    Anchors without a negative are left out.

    The value is negative in general, so its relative decay and the fit of its decay mean little.

    Args:
        negative_weight: l, at least 0.

    ``terms`` are the positive pairs of the mean, all of them active.
    """

    needs_cosines = True
    paper = "arXiv:2012.09740"
    per_pair = True

    def __init__(self, negative_weight: NonNegative = 1.0) -> None:
        super().__init__()
        self.negative_weight = negative_weight

    def formula(self, rows: Rows) -> Tensor:
        pushed = self.negative_weight * mean_of(rows.values, rows.negative)
        return ((pushed - rows.values) * rows.positive).sum(1, keepdim=True)
