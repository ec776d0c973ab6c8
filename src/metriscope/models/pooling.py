"""Pooling: from the maps of a convolutional trunk (B, C, H, W) to one vector (B, C)."""

from typing import Literal

import torch
from torch import Tensor, nn

from metriscope.parts import PartType

Pool = Literal["avg", "max", "gem"]
"""Kinds of pooling."""


class Pooling(nn.Module, metaclass=PartType):
    """The mean over positions, the largest value, or a mean between the two.

    Args:
        kind: ``avg``; ``max``; or ``gem``, the generalised mean (mean of x^p)^(1/p) of arXiv:1711.02512, eq. 3,
            with one exponent p for all channels that is learned with the trunk and starts at 3 (1 is the mean, infinity
            the largest value). Values below 1e-6 count as 1e-6. It is computed in float32 at least.
        positions: the axes of the positions; (1, 2) for maps with the channels last.
        keepdim: whether these axes stay, with length 1.

    Raises:
        InputError: an unknown kind.
    """

    def __init__(self, kind: Pool = "avg", positions: tuple[int, int] = (2, 3), keepdim: bool = False) -> None:
        super().__init__()
        self.kind = kind
        self.positions = positions
        self.keepdim = keepdim
        if kind == "gem":
            self.p = nn.Parameter(torch.tensor(3.0))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C), or (B, C, 1, 1) with ``keepdim``, in the dtype of ``maps``."""
        if self.kind == "avg":
            return maps.mean(self.positions, self.keepdim)
        if self.kind == "max":
            return maps.amax(self.positions, self.keepdim)
        powers = maps.to(torch.promote_types(maps.dtype, torch.float32)).clamp_min(1e-6).pow(self.p)
        return powers.mean(self.positions, self.keepdim).pow(1 / self.p).to(maps.dtype)

    def extra_repr(self) -> str:
        return f"{self.kind}, positions={self.positions}, keepdim={self.keepdim}"
