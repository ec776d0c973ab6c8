"""The miner of pairs that violate a margin."""

from metriscope.objectives.arguments import NonNegative, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Pairs


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

    def select(self, comparison: Comparison) -> Pairs:
        distances = comparison.distances
        return Pairs(
            comparison.positive & (distances > self.positive_margin),
            comparison.negative & (distances < self.negative_margin),
        )
