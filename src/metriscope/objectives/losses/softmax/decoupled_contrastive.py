"""Decoupled contrastive loss (DCL)."""

import torch
from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.kernels import softmax
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.numerics import log_sum_exp


class DecoupledContrastiveLoss(RowLoss):
    """Mean over positive pairs (a, p) of -s_ap / t + log sum_n exp(s_an / t).

    Yeh et al., arXiv:2110.06848, L_DC: InfoNCE without the positive in the denominator, so that an easy positive no
    longer weakens the push on the negatives. s is the cosine similarity and n runs over the negatives of a, given by
    labels (in the paper: the other images); each positive of an anchor makes a term. Anchors without a negative are
    left out. The value can be negative, so its relative decay means little. pytorch-metric-learning has no such loss.

    Args:
        temperature: t, above 0.

    ``terms`` are the positive pairs of the mean, all of them active.
    """

    paper = "arXiv:2110.06848"
    per_pair = True

    def __init__(self, temperature: Positive = 0.1) -> None:
        super().__init__()
        self.temperature = temperature

    def formula(self, rows: Rows) -> Tensor:
        logits = rows.values / self.temperature
        every = torch.where(rows.share > 0, log_sum_exp(logits, rows.negative, rows.weighed), 0)
        return ((every - logits) * rows.positive).sum(1, keepdim=True)

    def kernel(self) -> Rule:
        return softmax.decoupled(self.temperature)
