"""All positive pairs against all negative pairs by softplus((n - p) / t): each with each, or by histograms.

A pair's slope depends on all pairs of the other kind, but on its own similarity alone: a table over nodes of similarity
gives it to every pair.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.block import Block
from metriscope.objectives.chunks import chunk_elements
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.histograms import NEGATIVE, POSITIVE, kinds, soft_bins
from metriscope.objectives.kernels.rules import Judged, Rows, Rule
from metriscope.objectives.numerics import numbers, soft_hinge, softplus
from metriscope.objectives.selection import Pairs, Selection, pairs_of


class Compared(NamedTuple):
    """The sum over all pairs of pairs, a scalar of float64, and its derivatives (P,) and (N,) by both kinds."""

    total: Tensor
    by_positives: Tensor
    by_negatives: Tensor


def each_with_each(positives: tuple[Tensor, Tensor], negatives: tuple[Tensor, Tensor], temperature: float) -> Compared:
    """sum_p sum_n w_p w_n softplus((n - p) / t), O(P N) in chunks of positives.

    Args:
        positives: similarities (P,), and weights (P,) of 1 or 0.
        negatives: (N,) and (N,).
        temperature: t.
    """
    (own, own_weights), (others, weights) = positives, negatives
    # A traced loop would be unrolled.
    chunked = not torch.compiler.is_compiling()
    step = max(1, chunk_elements(others) // max(1, len(others)) if chunked else len(own))
    total, by_own, by_others = own.new_zeros((), dtype=torch.float64), torch.zeros_like(own), torch.zeros_like(others)
    with torch.autocast(own.device.type, enabled=False):
        for start in range(0, len(own), step):
            some = slice(start, start + step)
            costs, slopes = softplus((others - own[some].unsqueeze(1)).div_(temperature))
            total += (costs @ weights * own_weights[some]).sum(dtype=torch.float64)
            by_own[some] = slopes @ weights
            by_others += own_weights[some] @ slopes
    return Compared(total, by_own.mul_(own_weights).div_(-temperature), by_others.mul_(weights).div_(temperature))


def _masks(selection: Selection, block: Block) -> tuple[Tensor, Tensor]:
    """Those of negatives and of positives, in the order of their kinds."""
    pairs = pairs_of(selection, block) or Pairs(block.positive, block.negative)
    return pairs.negative, pairs.positive


@torch.no_grad()
def counts_of(comparison: Comparison, selection: Selection) -> Tensor:
    """The numbers (2,) of negative and of positive pairs."""
    counts = torch.zeros(2, dtype=torch.int64, device=comparison.anchors.labels.device)
    for block in comparison.blocks():
        counts += torch.stack([mask.sum() for mask in _masks(selection, block)])
    return counts


@torch.no_grad()
def densities(comparison: Comparison, selection: Selection, bins: int) -> Tensor:
    """Soft histograms (2, bins + 1) of the negative and of the positive pairs over nodes from -1 to 1."""
    nodes = bins + 1
    found = comparison.prepared[0].new_zeros(3 * nodes, dtype=torch.float64)
    for block in comparison.blocks():
        values = block.similarities
        negative, positive = (numbers(mask, values.dtype) for mask in _masks(selection, block))
        lower, upper_share = soft_bins((values + 1) * (bins / 2), bins)
        place = (kinds(positive, negative) * nodes + lower).flatten()
        found.index_add_(0, place, (1 - upper_share).flatten().double())
        found.index_add_(0, place + 1, upper_share.flatten().double())
    return found.view(3, nodes)[:2]


def by_histograms(histograms: Tensor, temperature: float) -> Rule:
    """Sums over an anchor's positives p and over all negatives n of softplus((n - p) / t).

    A pair costs what lies between the costs at its two nodes, each the sum over all nodes of the other kind, by which
    it has a slope as well.

    Args:
        histograms: of :func:`densities`.
        temperature: t.
    """
    bins, dtype = histograms.shape[1] - 1, histograms.dtype
    offsets = torch.arange(-bins, bins + 1, device=histograms.device, dtype=dtype) * (2 / bins / temperature)
    costs = soft_hinge(offsets)
    of_positive = _convolved(costs.flip(0), histograms[NEGATIVE])
    of_negative = _convolved(costs, histograms[POSITIVE])
    slopes = torch.stack([of_negative, of_positive, torch.zeros_like(of_positive)]).diff(dim=1) * (bins / 2)

    def judge(rows: Rows) -> Judged:
        places = (rows.values + 1) * (bins / 2)
        # Beyond the last node the cost stays what it is there.
        inside = (places >= 0) & (places <= bins)
        lower, upper_share = soft_bins(places, bins)
        table = of_positive.to(places.dtype)
        losses = (torch.lerp(table[lower], table[lower + 1], upper_share) * rows.positive).sum(1, keepdim=True)
        kind = kinds(rows.positive, rows.negative)
        return Judged(losses, (slopes.to(places.dtype).flatten()[kind * bins + lower] * inside,))

    return Rule(judge, complete=False)


def _convolved(costs: Tensor, histogram: Tensor) -> Tensor:
    """(nodes,), entry i the sum over j of costs[i - j + bins] histogram[j]; in O(nodes log nodes)."""
    nodes = len(histogram)
    length = len(costs) + nodes - 1
    product = torch.fft.rfft(costs, length) * torch.fft.rfft(histogram, length)
    whole: Tensor = torch.fft.irfft(product, length)
    return whole[nodes - 1 : 2 * nodes - 1]
