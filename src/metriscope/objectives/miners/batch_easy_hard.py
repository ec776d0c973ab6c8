"""The miner of one or all positives and negatives of each anchor, each side by its own strategy."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from metriscope.objectives.arguments import NonNegative
from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Pairs, RowPairs
from metriscope.parts import ArgumentError

Strategy = Literal["all", "easy", "semihard", "hard"]
STRATEGIES = get_args(Strategy)


def _pick(distances: Tensor, eligible: Tensor, furthest: bool) -> tuple[Tensor, Tensor]:
    """The extreme eligible pair of each row (if any) as a mask (B, R), and its distance (B, 1)."""
    filled = distances.masked_fill(~eligible, -math.inf if furthest else math.inf)
    value, column = filled.max(1, keepdim=True) if furthest else filled.min(1, keepdim=True)
    return torch.zeros_like(eligible).scatter_(1, column, True).logical_and_(eligible), value


def _within(distances: Tensor, mask: Tensor, bounds: Sequence[float] | None) -> Tensor:
    return mask if bounds is None else mask & (distances >= bounds[0]) & (distances <= bounds[1])


class BatchEasyHardMiner(Miner):
    """Positives and negatives of each anchor by strategy, as in Xuan et al. (arXiv:1904.04370).

    ==========  ================================  ================================
    strategy    positives                         negatives
    ==========  ================================  ================================
    all         every one                         every one
    easy        the closest                       the furthest
    semihard    the furthest that is closer than  the closest that is further than
                the chosen negative               the chosen positive
    hard        the furthest                      the closest
    ==========  ================================  ================================

    The selection is a pair of masks. A triplet loss uses every triplet that they form, which is exact for all
    strategies, and O(B R) where one side is ``all``. Where both sides pick one pair, an anchor that lacks either gives
    none. The pairs are those of pytorch-metric-learning's BatchEasyHardMiner, except that a range also narrows ``all``;
    that library ignores it there.

    Args:
        positive_strategy, negative_strategy: a strategy of the table. ``semihard`` is relative to the pair chosen on
            the other side, whose strategy must therefore be ``easy`` or ``hard``.
        positive_range, negative_range: (lowest, highest) distance of pairs considered, ends included; None for all.

    Raises:
        InputError: an unknown strategy, ``semihard`` beside ``semihard`` or ``all``, or an empty range.
    """

    kind = "pairs"
    paper = "arXiv:1904.04370"

    def __init__(
        self,
        positive_strategy: Strategy = "easy",
        negative_strategy: Strategy = "semihard",
        positive_range: Sequence[NonNegative] | None = None,
        negative_range: Sequence[NonNegative] | None = None,
    ) -> None:
        super().__init__()
        self.positive_strategy = positive_strategy
        self.negative_strategy = negative_strategy
        self.positive_range = positive_range
        self.negative_range = negative_range

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        for side, opposite in (("positive", "negative"), ("negative", "positive")):
            strategy, other = arguments[f"{side}_strategy"], arguments[f"{opposite}_strategy"]
            if strategy == "semihard" and other in ("semihard", "all"):
                raise ArgumentError(
                    f"{side}_strategy",
                    strategy,
                    f"semihard is relative to one chosen pair of the other side, which is '{other}': set that to easy "
                    "or hard, or use miner=semihard for all semi-hard triplets",
                )
            bounds = arguments[f"{side}_range"]
            if bounds is not None and (len(bounds) != 2 or bounds[0] > bounds[1]):
                raise ArgumentError(f"{side}_range", list(bounds), "it has to be [lowest, highest] distance")

    def select(self, comparison: Comparison) -> RowPairs:
        return RowPairs(self._choose)

    def _choose(self, block: Block) -> Pairs:
        distances = block.distances
        positive = _within(distances, block.positive, self.positive_range)
        negative = _within(distances, block.negative, self.negative_range)
        if self.positive_strategy == "semihard":
            negative, chosen = _pick(distances, negative, self.negative_strategy == "easy")
            positive, _ = _pick(distances, positive & (distances < chosen), furthest=True)
        else:
            if self.positive_strategy != "all":
                positive, chosen = _pick(distances, positive, self.positive_strategy == "hard")
            if self.negative_strategy == "semihard":
                negative = negative & (distances > chosen)
            if self.negative_strategy != "all":
                negative, _ = _pick(distances, negative, self.negative_strategy == "easy")
        if "all" not in (self.positive_strategy, self.negative_strategy):
            both = positive.any(1, keepdim=True) & negative.any(1, keepdim=True)
            return Pairs(positive & both, negative & both)
        return Pairs(positive, negative)
