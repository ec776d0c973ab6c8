"""Sums of softplus over bands of triplets, streamed over chunks of triplets."""

import math

import torch
from torch import Tensor

from metriscope.objectives.chunks import chunk_elements, most_positives
from metriscope.objectives.kernels.bands import BandSums
from metriscope.objectives.kernels.rules import Judged, Rows, Rule
from metriscope.objectives.numerics import softplus


def soft_band_sums(
    distances: Tensor, positive: Tensor, negative: Tensor, margin: float, low: float, high: float, memory_mb: float
) -> BandSums:
    """Sums of log(1 + exp(d_ap - d_an + margin)) over the triplets of a band, all of them counted as active.

    A smooth function of the triplet has no closed form over positives, so triplets are computed in chunks that are
    discarded at once: O(r P R) time with P the largest number of positives of an anchor.
    """
    rows, columns = distances.shape
    width = most_positives(positive)
    elements = chunk_elements(distances, memory_mb)
    step, block = max(1, elements // max(1, width * columns)), max(1, elements // max(1, columns))
    weights = torch.zeros_like(distances)
    totals = torch.zeros(rows, dtype=torch.float64, device=distances.device)
    active = torch.zeros(rows, dtype=torch.int64, device=distances.device)
    banded = low > -math.inf or high < math.inf
    for start in range(0, rows, step):
        chunk = slice(start, start + step)
        pos, neg, w = positive[chunk], negative[chunk], weights[chunk]
        # Entries without a triplet are -inf, where value and slope are exactly zero.
        others = distances[chunk].masked_fill(~neg, math.inf)
        own, order = distances[chunk].masked_fill(~pos, -math.inf).topk(width, dim=1)
        if not banded:
            active[chunk] = pos.sum(1) * neg.sum(1)
        for first in range(0, width, block):
            some = slice(first, first + block)
            excess = own[:, some].unsqueeze(2) - others.unsqueeze(1)
            if banded:
                inside = (excess < -low) & (excess > -high)
                active[chunk] += inside.sum((1, 2))
                excess.masked_fill_(~inside, -math.inf)
            if margin:
                excess += margin
            value, slope = softplus(excess)
            totals[chunk] += value.sum(2).sum(1, dtype=torch.float64)
            w -= slope.sum(1)
            w.scatter_add_(1, order[:, some], slope.sum(2))
    return BandSums(weights, totals, active)


def softplus_over(margin: float, low: float, high: float, memory_mb: float) -> Rule:
    """The rule of :func:`soft_band_sums`: a function of distances, with one sum and one count."""

    def judge(rows: Rows) -> Judged:
        sums = soft_band_sums(rows.values, rows.positive > 0, rows.negative > 0, margin, low, high, memory_mb)
        return Judged(sums.totals.unsqueeze(1), (sums.weights,), sums.active.unsqueeze(1))

    return Rule(judge, of_distances=True, counts=1, complete=False)
