"""The base class of miners: a miner selects the terms of a comparison that count."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.output import Account
from metriscope.objectives.samples import Moment
from metriscope.objectives.selection import Selection, TripletBand
from metriscope.parts import PartType


class Miner(nn.Module, metaclass=PartType):
    """Base class; ``kind`` is the kind of its selections: "all", "band", "pairs", "triplets" or "none".

    Miners see detached distances, so no gradient flows through a choice.

    Attributes:
        paper: where the miner comes from.
        needs_unit_sphere: whether embeddings have to be L2-normalised.
        not_across: by ``other`` and ``same``, why it cannot do without the pairs that ``pairs_across`` leaves out.
    """

    kind: ClassVar[str]
    paper: ClassVar[str] = ""
    needs_unit_sphere: ClassVar[bool] = False
    not_across: Mapping[str, str] = {}

    # The constructor of nn.Module takes anything.
    def __init__(self) -> None:
        super().__init__()

    @torch.no_grad()
    def forward(self, comparison: Comparison) -> Selection:
        # Of no anchors nothing can be selected, and reductions of miners need something.
        return self.select(comparison) if len(comparison.anchors.labels) else TripletBand()

    def select(self, comparison: Comparison) -> Selection:
        """The terms that count. Whatever is drawn is drawn for all anchors at once."""
        raise NotImplementedError

    @torch.no_grad()
    def observe(self, account: Account, moment: Moment) -> None:
        """Learn from a step: called in training, once, after the loss."""


def draw(weights: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Column indices (B, count), drawn with replacement in proportion to the weights (B, R) of each row.

    Transforms uniform numbers from a CPU generator by the inverse of the cumulative weights, so the draw is the same on
    every device. Rows without weight give an arbitrary index; the caller marks them invalid.
    """
    cumulative = weights.double().cumsum(1)
    uniform = torch.rand(weights.shape[0], count, dtype=torch.float64, generator=generator)
    targets = uniform.to(weights.device) * cumulative[:, -1:]
    return torch.searchsorted(cumulative, targets, right=True).clamp_max(weights.shape[1] - 1)
