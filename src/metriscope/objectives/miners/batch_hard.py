"""Miners that select one triplet per anchor from its closest and furthest pairs."""

import math
from typing import Literal

import torch
from torch import Tensor

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Triplets


def hardest(comparison: Comparison, positive: Tensor, negatives: Tensor) -> Triplets:
    """The triplets of each anchor's chosen positive (B,) and its closest reference among ``negatives`` (B, R) bool."""
    negative = comparison.distances.masked_fill(~negatives, math.inf).argmin(1)
    valid = comparison.positive.any(1) & negatives.any(1)
    anchor = torch.arange(len(positive), device=positive.device)
    return Triplets(anchor, positive, negative, valid)


class BatchHardMiner(Miner):
    """The furthest positive and the closest negative of each anchor (Hermans et al., arXiv:1703.07737)."""

    kind = "triplets"
    paper = "arXiv:1703.07737"

    def select(self, comparison: Comparison) -> Triplets:
        positive = comparison.distances.masked_fill(~comparison.positive, -math.inf).argmax(1)
        return hardest(comparison, positive, comparison.negative)


class BatchEasyPositiveMiner(Miner):
    """The closest positive of each anchor (Xuan et al., arXiv:1904.04370), with

    - ``negative="hard"``: its closest negative;
    - ``negative="semihard"``: its closest negative beyond that positive; anchors without one are left out.
    """

    kind = "triplets"
    paper = "arXiv:1904.04370"

    def __init__(self, negative: Literal["hard", "semihard"] = "hard") -> None:
        super().__init__()
        self.negative = negative

    def select(self, comparison: Comparison) -> Triplets:
        distance, positive = comparison.distances.masked_fill(~comparison.positive, math.inf).min(1)
        negatives = comparison.negative
        if self.negative == "semihard":
            negatives = negatives & (comparison.distances > distance.unsqueeze(1))
        return hardest(comparison, positive, negatives)
