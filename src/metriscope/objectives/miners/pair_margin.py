"""The miner of pairs that violate a margin."""

from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Comparison, Pairs


class PairMarginMiner(Miner):
    """Positive pairs further apart than ``positive_margin``, negative pairs closer than ``negative_margin``.

    Margins are in units of the distance.
    """

    kind = "pairs"

    def __init__(self, positive_margin: float = 0.2, negative_margin: float = 0.8) -> None:
        self.positive_margin = positive_margin
        self.negative_margin = negative_margin

    def select(self, comparison: Comparison) -> Pairs:
        distances = comparison.distances
        return Pairs(
            comparison.positive & (distances > self.positive_margin),
            comparison.negative & (distances < self.negative_margin),
        )
