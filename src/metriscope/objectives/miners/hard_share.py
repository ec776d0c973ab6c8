"""The miner of the hardest share of each anchor's pairs."""

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor

from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Pairs, RowPairs

Share = Annotated[float, Field(gt=0, le=1)]

# 0.07 x 100 must not be rounded up beyond 7.
_ROUNDING = 1e-9


class HardShareMiner(Miner):
    """The nearest share of each anchor's negatives, and the furthest share of its positives.

    Of n pairs of a kind an anchor keeps ceil(share x n), so at least one where it has any, and all pairs tied at the
    edge. With ``loss=infonce`` this is the hard contrastive loss of Wang and Liu, arXiv:2012.09740 (from secondary
    sources), whose denominator holds only negatives above a quantile of the anchor's similarities; it serves every
    loss of pairs. The threshold has no gradient. ``miner=hdc`` takes its share of all pairs of the batch instead.

    Nothing of size B x R is held: an anchor's own row decides.

    Args:
        negatives: share of the negatives, above 0 and at most 1; the paper keeps 0.03 to 0.08 of a large bank.
        positives: share of the positives, above 0 and at most 1.
    """

    kind = "pairs"
    paper = "arXiv:2012.09740"

    def __init__(self, negatives: Share = 0.1, positives: Share = 1.0) -> None:
        super().__init__()
        self.negatives = negatives
        self.positives = positives

    def select(self, comparison: Comparison) -> RowPairs:
        return RowPairs(self._choose)

    def _choose(self, block: Block) -> Pairs:
        return Pairs(
            _hardest(block, block.positive, self.positives, 1.0), _hardest(block, block.negative, self.negatives, -1.0)
        )


def _hardest(block: Block, mask: Tensor, share: float, sign: float) -> Tensor:
    """Those of the mask (r, R) whose distances times a sign are among the highest share of each row."""
    if share == 1:
        return mask
    hardness = (sign * block.distances).masked_fill_(~mask, -math.inf)
    counts = (mask.sum(1, keepdim=True).double() * share - _ROUNDING).ceil().long()
    # No row keeps more than its share of all references, so that the host need not wait for a count.
    most = math.ceil(share * mask.shape[1])
    ranked = hardness.topk(most, 1).values
    return mask & (hardness >= ranked.gather(1, (counts - 1).clamp_min(0)))
