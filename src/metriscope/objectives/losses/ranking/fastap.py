"""FastAP: average precision over soft histograms of distances."""

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count
from metriscope.objectives.kernels import histograms
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.losses.row_loss import RowLoss


class FastAPLoss(RowLoss):
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

    needs_cosines = True
    accepts = frozenset({"none"})
    weighable = frozenset({"rows"})
    mixes = False
    paper = "Cakir et al., CVPR 2019"

    def __init__(self, num_bins: Count = 10) -> None:
        super().__init__()
        self.num_bins = num_bins

    def formula(self, rows: Rows) -> Tensor:
        nodes = torch.arange(self.num_bins + 1, device=rows.values.device)
        # (2 - 2 s) over 4 / num_bins.
        places = ((1 - rows.values) * (self.num_bins / 2)).clamp(0, self.num_bins)
        shares = (1 - (places.unsqueeze(2) - nodes).abs()).clamp_min(0)
        own, others = ((shares * mask.unsqueeze(2)).sum(1) for mask in (rows.positive, rows.negative))
        own_until, every_until = own.cumsum(1), (own + others).cumsum(1)
        precision = own * own_until / torch.where(every_until > 0, every_until, 1)
        return 1 - precision.sum(1, keepdim=True) / own_until[:, -1:].clamp_min(1)

    def kernel(self) -> Rule:
        return histograms.average_precision(self.num_bins)
