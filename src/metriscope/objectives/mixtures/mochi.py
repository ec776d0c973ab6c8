"""MoCHi: mixtures of an anchor's hardest negatives are further negatives."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Count, UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.mixed import Mixtures
from metriscope.objectives.mixtures.base import Mixture, place, uniform
from metriscope.objectives.selection import Pairs
from metriscope.parts import ArgumentError

_Number = Annotated[int, Field(ge=0)]


class HardNegativeMixture(Mixture):
    """Negatives h between two of an anchor's hardest negatives, and between the anchor and one of them.

    Of each anchor's ``hardest`` nearest negatives are drawn, for each anchor by itself,

    - ``between`` pairs n_i, n_j, with h = norm(l n_i + (1 - l) n_j), l uniform in (0, 1);
    - ``towards`` negatives n_j, with h = norm(l a + (1 - l) n_j), l uniform in (0, 1/2),

    which the loss takes as negatives beside the others. Labels say that both parents are of other classes, so h is no
    false negative. At first, for ``warmup_share`` of the epochs, nothing is mixed.

    Kalantidis et al., MoCHi, NeurIPS 2020, arXiv:2010.01028 (both formulas, the list and the stop-gradient as read in
    three codes by others, which agree; the paper's numbers, N = s = 1024 and s' = 128 of a queue of 65,536, are
    remembered). The queue is ``memory=xbm``; a momentum encoder is not needed. It makes negatives harder, as a lower
    temperature does: compare with that.

    Fewer negatives than ``hardest`` are all of them; with one, nothing lies between. Parents on opposite sides, whose
    mixture has no direction, are left out. O(B R log N) time, and O(B S) memory beside the matrix of the comparison,
    with S = between + towards; where a memory gives both parents, O(B S D).

    Args:
        epochs: of the whole training.
        hardest: N, at least 1.
        between: mixtures of two negatives for each anchor.
        towards: mixtures of the anchor and a negative for each anchor.
        warmup_share: share of the epochs without mixtures.
        frozen: whether mixtures are constants, so that gradients reach the anchor alone, as in the paper.
        spherical: whether embeddings are L2-normalised; mixtures then are too.

    Raises:
        InputError: neither ``between`` nor ``towards`` is above 0.
    """

    paper = "arXiv:2010.01028"

    def __init__(
        self,
        epochs: Count = 10,
        hardest: Count = 64,
        between: _Number = 32,
        towards: _Number = 16,
        warmup_share: UnitInterval = 0.1,
        frozen: bool = True,
        spherical: bool = True,
    ) -> None:
        super().__init__()
        self.from_epoch = math.ceil(warmup_share * epochs)
        self.hardest, self.between, self.towards = hardest, between, towards
        self.frozen, self.spherical = frozen, spherical

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        if not arguments["between"] and not arguments["towards"]:
            raise ArgumentError("between", 0, "nothing is mixed then; set it or towards above 0, or mixture=none")

    def mix(self, comparison: Comparison, pairs: Pairs) -> Mixtures | None:
        if comparison.moment.epoch < self.from_epoch:
            return None
        nearest, count = _nearest(comparison, pairs.negative, self.hardest)
        anchors, total = len(count), self.between + self.towards
        # Always drawn for all, so that the number of negatives of one anchor changes no other.
        places, shares, others = (uniform((anchors, size), comparison) for size in (total, total, self.between))
        chosen = place(places, count)
        second = nearest.gather(1, chosen)
        known = (count > 0).expand_as(second)
        own, other = chosen[:, : self.between], place(others, count - 1)
        other = other + (other >= own)
        first = nearest.gather(1, other.clamp_max(nearest.shape[1] - 1))
        mixtures = Mixtures(
            torch.cat([first, torch.full_like(second[:, self.between :], -1)], 1),
            second,
            torch.cat([shares[:, : self.between], shares[:, self.between :] / 2], 1),
            torch.cat([(count > 1).expand_as(own), known[:, self.between :]], 1),
            negative_weights=torch.ones_like(known),
            frozen=self.frozen,
            spherical=self.spherical,
            in_batch=comparison.shape[0] == comparison.shape[1],
        )
        return mixtures.with_direction(comparison)


def _nearest(comparison: Comparison, negative: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The nearest negatives of each anchor (B, N), nearest first, and how many there are, (B, 1)."""
    most = min(most, negative.shape[1])
    found = [
        block.distances.masked_fill(~negative[block.rows], math.inf).topk(most, 1, largest=False).indices
        for block in comparison.blocks()
    ]
    return torch.cat(found), negative.sum(1, keepdim=True).clamp_max(most)
