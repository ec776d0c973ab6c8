"""The miner that leaves out negatives whose similarity is an outlier of the batch."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from metriscope.objectives.arguments import NonNegative
from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Pairs, RowPairs

# Rounding errors of a cosine, whose two directions may differ.
_ROUNDING = 8


class WhiskerMiner(Miner):
    """All positives, and the negatives whose similarity lies within the whiskers of a box plot.

    V is the sorted list of the similarities of all negative pairs, of l in all, in which a pair of two samples of the
    batch counts once. With q1 = V[floor(l / 4)], q3 = V[floor(3 l / 4)] and iqr = q3 - q1, a negative counts where

        q1 - range iqr <= s <= q3 + range iqr.

    Very similar negatives may have wrong labels, and very dissimilar ones teach nothing. The noise filter of unified
    negative pair generation (UNPG; Jung et al., arXiv:2203.11593, checked against the authors' code), where it chooses
    the negatives of the batch that join those of a classifier; here it serves every loss of pairs. Quartiles have no
    gradient. Where all similarities are equal, all are kept, up to rounding.

    Similarities of all pairs are held in one list while the quartiles are looked for, and none after that.

    Args:
        range: how far the whiskers reach, in interquartile ranges, at least 0; 1.5 and 1 in the paper.
    """

    kind = "pairs"
    paper = "arXiv:2203.11593"

    def __init__(self, range: NonNegative = 1.5) -> None:
        super().__init__()
        self.range = range

    def select(self, comparison: Comparison) -> RowPairs:
        low, high = _fences(comparison, self.range)

        def choose(block: Block) -> Pairs:
            s = block.similarities
            return Pairs(block.positive, block.negative & (s >= low) & (s <= high))

        return RowPairs(choose)


def _fences(comparison: Comparison, reach: float) -> tuple[Tensor, Tensor]:
    """The least and the greatest similarity that is no outlier; scalars."""
    quartiles = _quartiles if comparison.anchors.labels.device.type == "cpu" else _quartiles_by_sorting
    # A pair of the batch stands in two rows: it counts in that of its first sample.
    first, third = quartiles(
        (block.similarities, block.negative.triu(comparison.first + block.rows.start + 1))
        for block in comparison.blocks()
    )
    width = torch.where(third < math.inf, reach * (third - first), 0)
    slack = _ROUNDING * torch.finfo(width.dtype).eps * torch.maximum(first.abs(), third.abs()).clamp_min(1)
    return first - width - slack, third + width + slack


def _quartiles(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Lower and upper quartile of masked values; infinite where there are none."""
    values = torch.cat([values[mask] for values, mask in pairs])
    if not len(values):
        return values.new_tensor(math.inf), values.new_tensor(math.inf)
    first, third = (values.kthvalue(len(values) * k // 4 + 1).values for k in (1, 3))
    return first, third


def _quartiles_by_sorting(pairs: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Same as :func:`_quartiles`, without a host-device synchronisation."""
    ranked = torch.cat([values.masked_fill(~mask, math.inf).flatten() for values, mask in pairs]).sort().values
    count = (ranked < math.inf).sum()
    first, third = (ranked.gather(0, (count * k // 4).view(1)).squeeze(0) for k in (1, 3))
    return first, third
