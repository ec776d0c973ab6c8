"""FastAP: average precision over soft histograms of distances."""

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.histograms import NEGATIVE, POSITIVE, histograms, kinds, soft_bins
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs, Selection


def _backwards(x: Tensor) -> Tensor:
    """Sums of each entry and all after it, along the last dimension."""
    return x.flip(-1).cumsum(-1).flip(-1)


class FastAPLoss(Loss):
    """1 - mean over anchors of FastAP = 1/N+ sum_l h+_l H+_l / H_l.

    Cakir, He, Xia, Kulis, Sclaroff: Deep Metric Learning to Rank, CVPR 2019: h+ is the histogram of an
    anchor's positives over their squared Euclidean distance, in [0, 4] on the unit sphere; H+ and H are the
    cumulative histograms of its positives and of all its pairs; each distance is shared between the two nearest of the
    num_bins + 1 nodes. Distances are computed as 2 - 2 s with s the cosine similarity. Anchors without a positive or
    without a negative are left out.

    Equal to pytorch-metric-learning's ``FastAPLoss``, which turns a miner into weights of anchors; this loss takes no
    miner.

    Args:
        num_bins: intervals between the nodes, at least 1; the paper suggests 10.

    ``terms`` are the anchors of the mean, all of them active.
    """

    accepts = frozenset({"none"})
    hinge = False
    weighable = frozenset({"rows"})
    paper = "Cakir et al., CVPR 2019"

    def __init__(self, num_bins: Count = 10) -> None:
        super().__init__()
        self.num_bins = num_bins

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        return mean_over_anchors(comparison, Pairs(comparison.positive, comparison.negative), self._rule)

    def _rule(self, rows: Tensor, positive: Tensor, negative: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        # (2 - 2 s) over 4 / num_bins.
        nodes_per_similarity = self.num_bins / 2
        lower, upper_share = soft_bins((1 - rows).mul_(nodes_per_similarity), self.num_bins)
        kind = kinds(positive, negative)
        counts = histograms(kind, lower, upper_share, self.num_bins)
        own, every = counts[:, POSITIVE], counts[:, POSITIVE] + counts[:, NEGATIVE]
        own_until, every_until = own.cumsum(1), every.cumsum(1)
        inverse = torch.where(every_until > 0, every_until.reciprocal(), 0)
        precise = own * inverse
        total = own_until[:, -1:].clamp_min(1)
        losses = 1 - (precise * own_until).sum(1, keepdim=True) / total

        by_every = _backwards(precise * own_until * inverse)
        by_own = by_every - own_until * inverse - _backwards(precise)
        by_kind = torch.stack([by_every, by_own, torch.zeros_like(by_own)], 1)
        # A growing similarity shifts weight from its upper node to its lower node.
        slopes = by_kind[..., :-1] - by_kind[..., 1:]
        slopes = (slopes * (share * nodes_per_similarity / total).unsqueeze(2)).flatten(1)
        return losses, slopes.gather(1, kind.mul_(self.num_bins).add_(lower))
