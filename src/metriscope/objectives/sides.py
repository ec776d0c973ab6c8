"""Sides of samples: which pairs of two modalities are compared."""

from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.config.across import Across


class Sides(NamedTuple):
    """The sides of a comparison. A side below 0 is unknown, and compared with none.

    Attributes:
        across: ``other`` or ``same``.
        own: (B,) int64, the side of each anchor, 0 or 1.
        given: (R,) int64, that of each reference.
    """

    across: Across
    own: Tensor
    given: Tensor

    @property
    def wanted(self) -> Tensor:
        """(B,) int64, the side that each anchor is compared with; -2 for none."""
        side = 1 - self.own if self.across == "other" else self.own
        return torch.where(self.own < 0, -2, side)

    def reach(self, rows: slice | Tensor) -> Tensor:
        """(r, R) bool: the references that some anchors are compared with."""
        return self.wanted[rows].unsqueeze(1) == self.given

    def keys(self, own: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Labels (B,) and (R,) that are equal where class and side fit; -2 and -1 for what fits nothing."""
        wanted = self.wanted
        anchors = torch.where((own >= 0) & (wanted >= 0), 2 * own + wanted, -2)
        return anchors, torch.where((labels >= 0) & (self.given >= 0), 2 * labels + self.given, -1)
