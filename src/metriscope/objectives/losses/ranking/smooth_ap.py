"""Smooth-AP: average precision with sigmoids in place of steps."""

import math

import torch
from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.chunks import chunk_rows
from metriscope.objectives.kernels.rows import mean_over_anchors, most_positives
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs, Selection


class SmoothAPLoss(Loss):
    """1 - mean over anchors of AP = 1/|P| sum_{p in P} (1 + sum_{j in P} G_pj) / (1 + sum_{j in P, N} G_pj).

    Brown, Xie, Kalogeiton, Zisserman, arXiv:2007.12163, L_AP: G_pj = sigmoid((s_j - s_p) / t), j != p, the smooth
    form of "j ranks before p", with s_j the cosine similarity of the anchor and j. Anchors without a
    positive or without a negative are left out.

    The authors' code counts the anchor as a positive at the first rank, which adds a constant to AP:
    ``include_anchor=true``. With this option the loss equals pytorch-metric-learning's ``SmoothAPLoss`` where the batch
    is sorted by class and has as many classes as samples of each class; for other batches that library mistakes the
    number of classes for the size of a class and compares samples of different classes as positives.

    O(B P R) time with P the largest number of positives of an anchor, and memory O(B R) plus ``memory_mb``: positives
    of anchors are processed in chunks. The host waits once for P; a compiled graph uses P = R instead, which costs more
    than it saves where classes are small.

    Args:
        temperature: t, in units of similarity, above 0; 0.01 in the paper.
        include_anchor: whether the anchor is one of its own positives.
        memory_mb: bound on the temporaries of a chunk, in MiB, above 0; a chunk holds at least one positive with its R
            comparisons.

    ``terms`` are the anchors of the mean, all of them active.
    """

    accepts = frozenset({"none"})
    hinge = False
    weighable = frozenset({"rows"})
    paper = "arXiv:2007.12163"

    def __init__(self, temperature: Positive = 0.01, include_anchor: bool = False, memory_mb: Positive = 256) -> None:
        super().__init__()
        self.temperature = temperature
        self.include_anchor = include_anchor
        self.memory_mb = memory_mb

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        positive = comparison.positive
        if self.include_anchor:
            itself = torch.eye(*positive.shape, dtype=torch.bool, device=positive.device)
            positive = positive | (itself & positive.any(1, keepdim=True))
        width = most_positives(positive)
        step = chunk_rows(comparison.distances, self.memory_mb)

        def rule(rows: Tensor, own: Tensor, other: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
            return self._rule(rows, own, other, share, width, step)

        return mean_over_anchors(
            comparison, Pairs(positive, comparison.negative), rule, elements=width, memory_mb=self.memory_mb
        )

    def _rule(
        self, rows: Tensor, positive: Tensor, negative: Tensor, share: Tensor, width: int, step: int
    ) -> tuple[Tensor, Tensor]:
        ranked = rows.masked_fill(~(positive | negative), -math.inf).div_(self.temperature)
        own, order = rows.masked_fill(~positive, math.inf).topk(width, dim=1, largest=False)
        own.div_(self.temperature)
        # Places without a positive hold +inf as the ranked sample, and -inf as a sample that may rank before it.
        own_ranked = own.masked_fill(own == math.inf, -math.inf)
        weights = torch.zeros_like(rows)
        own_weights = torch.zeros_like(own)
        precision = torch.zeros_like(share)
        for start in range(0, width, step):
            block = slice(start, start + step)
            reference = own[:, block].unsqueeze(2)
            ahead = (ranked.unsqueeze(1) - reference).sigmoid_()
            own_ahead = (own_ranked.unsqueeze(1) - reference).sigmoid_()
            # The sigmoids count each positive as 1/2 before itself, so 1/2 is left of the 1 in the formula.
            rank, own_rank = ahead.sum(2).add_(0.5), own_ahead.sum(2).add_(0.5)
            real = own[:, block] < math.inf
            precision += torch.where(real, own_rank / rank, 0).sum(1, keepdim=True)
            by_rank = torch.where(real, own_rank / rank.square(), 0).unsqueeze(2)
            by_own_rank = torch.where(real, rank.reciprocal(), 0).unsqueeze(2)
            slope = ahead.addcmul_(ahead, ahead, value=-1).mul_(by_rank)
            own_slope = own_ahead.addcmul_(own_ahead, own_ahead, value=-1).mul_(by_own_rank)
            weights += slope.sum(1)
            own_weights -= own_slope.sum(1)
            own_weights[:, block] += own_slope.sum(2) - slope.sum(2)
        weights.scatter_add_(1, order, own_weights)
        count = positive.sum(1, keepdim=True).clamp_min_(1)
        return 1 - precision / count, weights.mul_(share / self.temperature / count)
