"""Triplet loss with a soft margin."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Positive, Reduction
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.bands import BandSums
from metriscope.objectives.kernels.chunks import chunk_elements, count_rows
from metriscope.objectives.kernels.gradient import KnownGradient
from metriscope.objectives.kernels.numerics import softplus
from metriscope.objectives.kernels.rows import most_positives
from metriscope.objectives.losses.base import Loss, mean_part, reduce
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Mixtures, Selection, TripletBand, Triplets, as_band, triplet_distances

# Above this, log(1 + exp(x)) equals x to full precision; below it, exp(x) fits into float32.
_LINEAR_FROM = 80


@torch.no_grad()
def soft_band_sums(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, band: TripletBand, memory_mb: float
) -> BandSums:
    """Sums of log(1 + exp(d_ap - d_an + margin)) over the triplets of a band, all of them counted as active.

    A smooth function of the triplet has no closed form over positives, so triplets are computed in chunks that are
    discarded at once: O(B P R) time with P the largest number of positives of an anchor.
    """
    rows, columns = distances.shape
    width = most_positives(positive)
    elements = chunk_elements(distances, memory_mb)
    step, block = max(1, elements // max(1, width * columns)), max(1, elements // max(1, columns))
    weights = torch.zeros_like(distances)
    total = torch.zeros((), dtype=torch.float64, device=distances.device)
    active = torch.zeros((), dtype=torch.int64, device=distances.device)
    for start in range(0, rows, step):
        chunk = slice(start, start + step)
        pos, neg, w = positive[chunk], negative[chunk], weights[chunk]
        # Entries without a triplet are -inf, where value and slope are exactly zero.
        others = distances[chunk].masked_fill(~neg, math.inf)
        own, order = distances[chunk].masked_fill(~pos, -math.inf).topk(width, dim=1)
        if band.unbounded:
            active += (pos.sum(1) * neg.sum(1)).sum()
        for first in range(0, width, block):
            some = slice(first, first + block)
            excess = own[:, some].unsqueeze(2) - others.unsqueeze(1)
            if not band.unbounded:
                inside = (excess < -band.low) & (excess > -band.high)
                active += inside.sum()
                excess.masked_fill_(~inside, -math.inf)
            if margin:
                excess += margin
            value, slope = softplus(excess)
            total += value.sum(2).sum(dtype=torch.float64)
            w -= slope.sum(1)
            w.scatter_add_(1, order[:, some], slope.sum(2))
    return BandSums(weights, total, active)


class SoftMarginTripletLoss(Loss):
    """log(1 + exp(d(a, p) - d(a, n) + margin)) over the selected triplets.

    Hermans, Beyer, Leibe, arXiv:1703.07737: the hinge of the triplet loss is replaced by softplus, which
    decays instead of cutting off, so that satisfied triplets are still pulled apart. The paper has no margin inside
    softplus. Its miner is ``batch_hard``; ``miner=all`` is its "batch all".

    Equal to pytorch-metric-learning's ``TripletMarginLoss(smooth_loss=True)``, whose margin is 0.05 by default.

    Sums over all triplets, or over a band of them, stream over chunks of anchors: O(B P R) time with P the largest
    number of positives of an anchor, and memory O(B R) plus ``memory_mb``. The host waits once for P; a compiled graph
    uses P = R instead, which costs more than it saves where classes are small.

    Args:
        margin: added to the difference, in units of the distance, at least 0; the miners semihard, violating and easy
            use it as their margin too.
        reduction: ``mean`` over all valid triplets, ``sum``, or ``mean_active`` over those of the band.
        memory_mb: bound on the temporaries of a chunk, in MiB, above 0; a chunk holds at least one positive with its R
            negatives.

    ``terms`` are all triplets that the labels or the selected pairs allow, or those of a list; ``active`` those within
    the band, or all of them without a band.
    """

    accepts = frozenset({"all", "band", "pairs", "triplets"})
    hinge = False
    paper = "arXiv:1703.07737"

    def __init__(self, margin: NonNegative = 0.0, reduction: Reduction = "mean", memory_mb: Positive = 256) -> None:
        super().__init__()
        self.margin = margin
        self.reduction = reduction
        self.memory_mb = memory_mb

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        distances = comparison.distances
        if isinstance(selection, Triplets | Mixtures):
            return self._list(comparison, selection)
        band, pairs = as_band(selection, comparison)
        sums = soft_band_sums(distances.detach(), pairs.positive, pairs.negative, self.margin, band, self.memory_mb)
        terms = (count_rows(pairs.positive) * count_rows(pairs.negative)).sum()
        scale = reduce(sums.total.new_ones(()), sums.active, terms, self.reduction)
        value: Tensor = KnownGradient.apply(distances, sums.weights.mul_(scale), sums.total * scale)
        return LossOutput(value, sums.active, terms, mean_part(sums.total, terms, self.reduction))

    def _list(self, comparison: Comparison, selection: Triplets | Mixtures) -> LossOutput:
        to_positive, to_negative, valid = triplet_distances(selection, comparison)
        gap = to_negative - to_positive
        total = (F.softplus(self.margin - gap, threshold=_LINEAR_FROM) * valid).sum()
        terms = valid.sum()
        value = reduce(total, terms, terms, self.reduction)
        return LossOutput(value, terms, terms, mean_part(total, terms, self.reduction))
