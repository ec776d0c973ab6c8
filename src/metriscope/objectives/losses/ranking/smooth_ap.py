"""Smooth-AP: average precision with sigmoids in place of steps."""

import torch
from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.kernels.smooth_ranks import average_precision
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs, RowPairs, Selection


class SmoothAPLoss(RowLoss):
    """1 - mean over anchors of AP = 1/|P| sum_{p in P} (1 + sum_{j in P} G_pj) / (1 + sum_{j in P, N} G_pj).

    Brown, Xie, Kalogeiton, Zisserman, arXiv:2007.12163, L_AP: G_pj = sigmoid((s_j - s_p) / t), j != p, the smooth
    form of "j ranks before p", with s_j the cosine similarity of the anchor and j. Anchors without a
    positive or without a negative are left out.

    The authors' code counts the anchor as a positive at the first rank, which adds a constant to AP:
    ``include_anchor=true``. With this option the loss equals pytorch-metric-learning's ``SmoothAPLoss`` where the batch
    is sorted by class and has as many classes as samples of each class; for other batches that library mistakes the
    number of classes for the size of a class and compares samples of different classes as positives.

    O(B P R) time with P the largest number of positives of an anchor, and memory ``memory_mb``: positives of anchors
    are processed in chunks. The host waits for P once in a block of anchors; a compiled graph uses P = R instead, which
    costs more than it saves where classes are small.

    Args:
        temperature: t, in units of similarity, above 0; 0.01 in the paper.
        include_anchor: whether the anchor is one of its own positives.
        memory_mb: bound on the temporaries of a chunk, in MiB, above 0; a chunk holds at least one positive with its R
            comparisons.

    ``terms`` are the anchors of the mean, all of them active.
    """

    accepts = frozenset({"none"})
    weighable = frozenset({"rows"})
    mixes = False
    paper = "arXiv:2007.12163"

    def __init__(self, temperature: Positive = 0.01, include_anchor: bool = False, memory_mb: Positive = 256) -> None:
        super().__init__()
        self.temperature = temperature
        self.include_anchor = include_anchor
        if include_anchor:
            self.not_across = {"other": "include_anchor=true makes an anchor its own positive; set it to false"}
        self.memory_mb = memory_mb

    def formula(self, rows: Rows) -> Tensor:
        s = rows.values / self.temperature
        positive, negative = (mask.unsqueeze(1) for mask in (rows.positive, rows.negative))
        ahead = (s.unsqueeze(1) - s.unsqueeze(2)).sigmoid()
        # Each positive counts as 1/2 before itself, so 1/2 is left of the 1 in the formula.
        own = (ahead * positive).sum(2) + 0.5
        precision = own / (own + (ahead * negative).sum(2))
        count = positive.sum(2).clamp_min(1)
        return 1 - (precision * positive.squeeze(1)).sum(1, keepdim=True) / count

    def kernel(self) -> Rule:
        return average_precision(self.temperature, self.memory_mb)

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        if not self.include_anchor:
            return super().forward(comparison, selection)

        def with_anchor(block: Block) -> Pairs:
            itself = torch.zeros_like(block.positive)
            itself.diagonal(comparison.first + block.rows.start).fill_(True)
            return Pairs(block.positive | (itself & block.positive.any(1, keepdim=True)), block.negative)

        return super().forward(comparison, RowPairs(with_anchor))
