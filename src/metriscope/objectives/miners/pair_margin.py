"""The miner of pairs that violate a margin."""

from metriscope.objectives.arguments import NonNegative, Positive
from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Pairs, RowPairs


class PairMarginMiner(Miner):
    """Positive pairs further apart than ``positive_margin``, negative pairs closer than ``negative_margin``.

    Args:
        positive_margin: in units of the distance, at least 0.
        negative_margin: in units of the distance, above 0: no pair is closer than 0.
    """

    kind = "pairs"

    def __init__(self, positive_margin: NonNegative = 0.2, negative_margin: Positive = 0.8) -> None:
        super().__init__()
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin

    def select(self, comparison: Comparison) -> RowPairs:
        return RowPairs(self._choose)

    def _choose(self, block: Block) -> Pairs:
        return Pairs(
            block.positive & (block.distances > self.positive_margin),
            block.negative & (block.distances < self.negative_margin),
        )
