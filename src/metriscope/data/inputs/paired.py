"""Pairs of vectors of two modalities, in memory."""

from dataclasses import dataclass

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.models.paired import Pairs


@dataclass(frozen=True, eq=False)
class PairedVectors:
    """N pairs of vectors, in place of one vector for each example.

    Attributes:
        first: float32 (N, F0).
        second: float32 (N, F1).
        sides: what the two modalities are called.
    """

    first: Tensor
    second: Tensor
    sides: tuple[str, str]

    def __post_init__(self) -> None:
        if len(self.first) != len(self.second):
            names = " and ".join(
                f"{len(x)} vectors of {side}" for x, side in zip((self.first, self.second), self.sides, strict=True)
            )
            raise InputError(f"{names}: a pair has one of each")

    def __len__(self) -> int:
        return len(self.first)

    @property
    def shape(self) -> tuple[int, int]:
        """(F0, F1), by which pairs are told from vectors (F,) and images (C, H, W)."""
        return self.first.shape[1], self.second.shape[1]

    def take(self, indices: Tensor) -> "PairedVectors":
        return PairedVectors(self.first[indices], self.second[indices], self.sides)

    def fetch(self, indices: Tensor) -> Pairs:
        return Pairs(self.first.index_select(0, indices), self.second.index_select(0, indices))

    def followed_by(self, other: "PairedVectors") -> "PairedVectors":
        """These pairs, then those of another part."""
        first, second = torch.cat([self.first, other.first]), torch.cat([self.second, other.second])
        return PairedVectors(first, second, self.sides)
