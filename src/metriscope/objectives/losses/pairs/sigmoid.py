"""Sigmoid loss over pairs."""

import math

import torch
from torch import Tensor, nn

from metriscope.objectives.arguments import Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rules import Rows
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.numerics import soft_hinge
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class SigmoidLoss(RowLoss):
    """Mean over anchors i of sum_{j != i} -log sigmoid(q_ij (t s_ij + b)), q = 1 for positives and -1 for negatives.

    Zhai et al., Sigmoid Loss for Language Image Pre-Training (SigLIP), arXiv:2303.15343 (as read in the authors' code;
    where t and b begin is remembered), with labels for pairs and one modality: each pair is a binary classification of
    its own, and no sample is compared with itself. s is the cosine similarity; t = exp(t') and b are learned, with the
    loss's learning rate (``optimizer.lr_loss``). They begin at 10 and -10, so that the many negatives of a batch cost
    little at first. An anchor without a positive counts, by its negatives. pytorch-metric-learning has no such loss.

    Args:
        scale: t at the beginning, above 0; 10 in the paper.
        bias: b at the beginning; -10 in the paper.

    The parts ``sigmoid_scale`` and ``sigmoid_bias`` are t and b. ``terms`` are the anchors with a pair, all of them
    active.
    """

    paper = "arXiv:2303.15343"
    complete = False

    def __init__(self, scale: Positive = 10.0, bias: float = -10.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def formula(self, rows: Rows) -> Tensor:
        logits = self.log_scale.exp() * rows.values + self.bias
        terms = soft_hinge(-logits) * rows.positive + soft_hinge(logits) * rows.negative
        return terms.sum(1, keepdim=True)

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        parts = {"sigmoid_scale": self.log_scale.detach().exp(), "sigmoid_bias": self.bias.detach().clone()}
        return super().forward(comparison, selection)._replace(parts=parts)
