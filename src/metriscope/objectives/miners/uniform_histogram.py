"""The miner that draws pairs evenly over their distances."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Count
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Pairs


def _bins(distances: Tensor, mask: Tensor, count: int) -> Tensor:
    """The bin (B, R) int16 of each pair between the least and the greatest distance; ``count`` outside the mask."""
    low = distances.masked_fill(~mask, math.inf).amin()
    high = distances.masked_fill(~mask, -math.inf).amax()
    width = ((high - low) / count).clamp_min(torch.finfo(distances.dtype).tiny)
    bins = ((distances - low) / width).nan_to_num_(0).clamp_(0, count - 1)
    return bins.to(torch.int16).masked_fill_(~mask, count)


def _draw_evenly(distances: Tensor, mask: Tensor, bins: int, per_bin: int, generator: torch.Generator | None) -> Tensor:
    """A mask of min(per_bin, size of the bin) pairs of each bin, every pair of a bin with the same chance."""
    ranked, order = _bins(distances, mask, bins).flatten().sort(stable=True)
    edges = torch.searchsorted(ranked, torch.arange(bins + 1, dtype=ranked.dtype, device=ranked.device))
    start, size = edges[:-1, None], edges.diff().unsqueeze(1)
    # Systematic sampling: one random start per bin, then equal steps through the bin. Steps of at least one never
    # select a pair twice, and steps below one select every pair.
    offset = torch.rand(bins, 1, dtype=torch.float64, generator=generator).to(distances.device)
    steps = torch.arange(per_bin, dtype=torch.float64, device=distances.device)
    rank = ((steps + offset) * size / per_bin).long()
    place = (start + torch.minimum(rank, size - 1)).clamp_(0, len(order) - 1)
    # The draws of an empty bin are written to an extra place behind the end.
    drawn = order[place].masked_fill_(size == 0, len(order))
    chosen = torch.zeros(len(order) + 1, dtype=torch.bool, device=distances.device)
    return chosen.index_fill_(0, drawn.flatten(), True)[:-1].view_as(mask)


class UniformHistogramMiner(Miner):
    """``positives_per_bin`` positive and ``negatives_per_bin`` negative pairs from each bin of their histogram.

    As in pytorch-metric-learning's UniformHistogramMiner, the range of the batch's positive distances is divided into
    ``bins`` bins of equal width, likewise the range of its negative distances, and every bin that is not empty gives
    the same number of pairs. That library draws with replacement, so that a bin of one pair repeats it; here a pair
    counts once, and a bin with fewer pairs gives all of them. The generator of the step draws one number per bin, and
    the selected pairs are spread over the anchors.

    Args:
        bins: of each histogram, from 1 to 32,000.
        positives_per_bin, negatives_per_bin: at least 1.
    """

    kind = "pairs"

    def __init__(
        self,
        bins: Annotated[int, Field(ge=1, le=32_000)] = 100,
        positives_per_bin: Count = 10,
        negatives_per_bin: Count = 10,
    ) -> None:
        super().__init__()
        self.bins = bins
        self.positives_per_bin = positives_per_bin
        self.negatives_per_bin = negatives_per_bin

    def select(self, comparison: Comparison) -> Pairs:
        positive, negative = (
            _draw_evenly(comparison.distances, mask, self.bins, per_bin, comparison.moment.generator)
            for mask, per_bin in (
                (comparison.positive, self.positives_per_bin),
                (comparison.negative, self.negatives_per_bin),
            )
        )
        return Pairs(positive, negative)
