"""Mixtures as further columns of the rows that the row engine shows to a rule."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metriscope.objectives.block import Block
from metriscope.objectives.chunks import count_rows
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.mixed import Mixtures, mixtures_in
from metriscope.objectives.selection import Pairs, Selection, pairs_of


@dataclass(frozen=True)
class MixedColumns:
    """The mixtures of a selection, with their values.

    Attributes:
        mixtures: S of each anchor.
        values: (B, S), attached to the graph; the engine gives their gradients back to them.
        alone: whether there are no pairs of samples beside them.
    """

    mixtures: Mixtures
    values: Tensor
    alone: bool

    @classmethod
    def of(cls, selection: Selection, comparison: Comparison, of_distances: bool) -> "MixedColumns | None":
        """Those of a selection; None where it has none."""
        mixtures = mixtures_in(selection)
        if mixtures is None:
            return None
        return cls(mixtures, mixtures.values(comparison, of_distances), alone=mixtures is selection)

    def pairs(self, selection: Selection, block: Block) -> Pairs | None:
        """Pairs of samples (r, R) beside the mixtures of some anchors, or (r, 0)."""
        if not self.alone:
            return pairs_of(selection, block)
        none = block.anchors.new_zeros(len(block.anchors), 0, dtype=torch.bool)
        return Pairs(none, none)

    def take(self, found: Tensor, rows: slice, slopes: Tensor) -> Tensor:
        """Add the slopes of mixtures of some anchors to all that are found (B, S); those of pairs are left."""
        pairs = slopes.shape[1] - found.shape[1]
        found[rows] += slopes[:, pairs:]
        return slopes[:, :pairs].contiguous()

    def beside(self, values: Tensor, rows: slice) -> Tensor:
        """Values of samples (r, R) and of mixtures (r, S) of some anchors, one after the other."""
        return torch.cat([values, self.values[rows].to(values.dtype)], 1)

    def terms(self, rows: slice, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What pairs count (r, R), and mixtures (r, S), one after the other, and the numbers (r, 2) of mixtures."""
        sides = self.mixtures.at(rows).terms(positive.dtype)
        sizes = torch.stack([count_rows(side > 0) for side in sides], 1)
        up, down = (torch.cat([own, more], 1) for own, more in zip((positive, negative), sides, strict=True))
        return up, down, sizes
