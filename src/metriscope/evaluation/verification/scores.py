"""Scores of pairs: cosine similarities as whole numbers, so that equal ones tie whatever the order of sums."""

import torch
from torch import Tensor

from metriscope.unit import inverse_lengths, unit_rows

GRID = 2**22
"""Cosines are compared as multiples of 1 / GRID, 2.4e-7, about the precision of those of float32 embeddings."""
EXCLUDED = 0
"""The place of what is no pair, such as a sample with itself."""

# Above 2^52 a float64 has no digits behind the point: adding this rounds, and leaves the number in the last bits.
_ROUNDS = 1.5 * 2.0**52
_BITS = int(torch.tensor(_ROUNDS, dtype=torch.float64).view(torch.int64))


def directions(embeddings: Tensor) -> Tensor:
    """(N, D) -> (N, D) float64 of unit length."""
    return unit_rows(embeddings.detach().double())


def make_directions(rows: Tensor) -> Tensor:
    """:func:`directions` of float64 (N, D), in the same memory."""
    return rows.mul_(inverse_lengths(rows))


def counters(device: torch.device) -> Tensor:
    """A counter for each place, (2 GRID + 2,) int64."""
    return torch.zeros(2 * GRID + 2, dtype=torch.int64, device=device)


def places(products: Tensor) -> Tensor:
    """GRID times the cosines, float64, to places from 1 to 2 GRID + 1, int64, in the same memory."""
    return products.add_(_ROUNDS).view(torch.int64).sub_(_BITS - GRID - 1)


def cosines_of(these: Tensor) -> Tensor:
    """The cosines of places, float64."""
    return (these - GRID - 1).double() / GRID
