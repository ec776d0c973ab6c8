"""The miner of the hardest share of a batch's pairs."""

import math
from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Pairs, RowPairs


def _edge(pairs: Iterable[tuple[Tensor, Tensor]], share: float) -> Tensor:
    """The lowest hardness among the hardest ``share`` of all pairs, given as values and masks of blocks of anchors."""
    hardness = torch.cat([values[mask] for values, mask in pairs])
    count = math.ceil(share * len(hardness))
    return hardness.topk(count, sorted=False).values.amin() if count else hardness.new_tensor(math.inf)


def _edge_by_sorting(pairs: Iterable[tuple[Tensor, Tensor]], share: float) -> Tensor:
    """Same as :func:`_edge`, without a host-device synchronisation."""
    hardness, mask = (torch.cat(column) for column in zip(*pairs, strict=True))
    count = (mask.sum().double() * share).ceil().long()
    ranked = hardness.masked_fill(~mask, -math.inf).flatten().sort(descending=True).values
    return ranked.gather(0, (count - 1).clamp_min(0).view(1))


class HardAwareCascadeMiner(Miner):
    """The hardest share of all positive pairs of the batch and the hardest share of all negative pairs.

    The rule of one level of the hard-aware cascade (HDC, arXiv:1611.05720): positives are ranked by distance from the
    furthest, negatives from the closest, and the first ceil(share x pairs) of each are selected. The paper's levels are
    models of growing depth, each of which ranks the pairs selected by the level before. With one embedding a cascade of
    shares h_1, h_2, ... selects, up to rounding, the same pairs as the product of these shares. The pairs are those of
    pytorch-metric-learning's HDCMiner, except that all pairs tied at the edge are selected, whereas HDCMiner takes an
    arbitrary one (the two directions of a pair are such a tie).

    The distances of all pairs are held in one list while the two edges are looked for, and none after that. Where
    several processes share the anchors, the chosen pairs are held as masks (B, R).

    Args:
        share: share of the pairs, above 0 and at most 1.
    """

    kind = "pairs"
    paper = "arXiv:1611.05720"

    def __init__(self, share: Annotated[float, Field(gt=0, le=1)] = 0.5) -> None:
        super().__init__()
        self.share = share

    def select(self, comparison: Comparison) -> Pairs | RowPairs:
        edge = _edge if comparison.anchors.labels.device.type == "cpu" else _edge_by_sorting
        furthest = edge(((block.distances, block.positive) for block in comparison.blocks()), self.share)
        closest = -edge(((-block.distances, block.negative) for block in comparison.blocks()), self.share)

        def choose(block: Block) -> Pairs:
            near, far = block.distances <= closest, block.distances >= furthest
            return Pairs(block.positive & far, block.negative & near)

        if comparison.ranks is None:
            return RowPairs(choose)
        # The loss looks at blocks of a process's own anchors, which round in another way, even the pair at an edge.
        chosen = [choose(block) for block in comparison.blocks()]
        return Pairs(torch.cat([one.positive for one in chosen]), torch.cat([one.negative for one in chosen]))
