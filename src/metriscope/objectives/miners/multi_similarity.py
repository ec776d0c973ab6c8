"""The miner of pairs that are hard compared with the other pairs of their anchor."""

import math
from typing import Annotated

from pydantic import Field

from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Pairs, RowPairs


class MultiSimilarityMiner(Miner):
    """Pairs within ``epsilon`` of their anchor's hardest pair of the other kind (mining of arXiv:1904.06627).

    With S the cosine similarity (see :meth:`Distance.similarity` for other distances), a negative counts where
    ``S_an > min_p S_ap - epsilon`` and a positive where ``S_ap < max_n S_an + epsilon``.
    Anchors without a positive, or without a negative, have nothing to compare with and give no pairs.
    The same pairs as pytorch-metric-learning's MultiSimilarityMiner.

    Args:
        epsilon: in units of similarity, at least -2, which admits no pair of unit vectors; a larger value admits
            easier pairs.
    """

    kind = "pairs"
    paper = "arXiv:1904.06627"

    def __init__(self, epsilon: Annotated[float, Field(ge=-2)] = 0.1) -> None:
        super().__init__()
        self.epsilon = epsilon

    def select(self, comparison: Comparison) -> RowPairs:
        return RowPairs(self._choose)

    def _choose(self, block: Block) -> Pairs:
        similarities = block.similarities
        hardest_positive = similarities.masked_fill(~block.positive, math.inf).amin(1, keepdim=True)
        hardest_negative = similarities.masked_fill(~block.negative, -math.inf).amax(1, keepdim=True)
        return Pairs(
            block.positive & (similarities < hardest_negative + self.epsilon),
            block.negative & (similarities > hardest_positive - self.epsilon),
        )
