"""Inputs of a network for pairs of vectors of two modalities."""

from typing import NamedTuple

from torch import Tensor


class Pairs(NamedTuple):
    """A batch of B pairs.

    Attributes:
        first: (B, F0) float32, the vectors of the first side.
        second: (B, F1), those of the second.
    """

    first: Tensor
    second: Tensor


class OneSide(NamedTuple):
    """Vectors (B, F) of one modality: ``side`` is 0 for the first and 1 for the second."""

    values: Tensor
    side: int
