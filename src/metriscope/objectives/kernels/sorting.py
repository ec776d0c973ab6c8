"""The odd-even sorting network with soft comparators: which entries of a sequence land on the first ranks."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def chances_of_first(sequences: Tensor, sizes: Tensor, first: Tensor, steepness: float) -> Tensor:
    """For each entry of some sequences the soft chance that sorting puts it on one of the first ranks, differentiable.

    Layer t of a sequence of n entries compares the neighbours (a, a + 1), a = t mod 2, t mod 2 + 2, ...; there are n
    layers. A comparator keeps the order of (p, q) by 1/2 + atan(b (q - p)) / pi. Layers are symmetric, so the ranks
    that count, as a vector of 1 and 0, are pulled back through them from the last to the first, in O(n^2) for each
    sequence; the matrix of all chances, O(n^3), is not made.

    Args:
        sequences: (n, r), one in each column, from the top; what follows its end counts nowhere.
        sizes: (r,), the lengths; a shorter sequence goes through the network of its own length.
        first: (r,), how many ranks count, from the lowest on.
        steepness: b, above 0.

    Returns:
        (n, r); beyond the end of a sequence, anything finite.
    """
    count = len(sequences)
    places = torch.arange(count, device=sequences.device).unsqueeze(1)
    swaps: list[Tensor] = []
    for layer in range(count):
        start = layer % 2
        lower, upper = _neighbours(sequences, start)
        real = (places[start + 1 :: 2] < sizes) & (layer < sizes)
        swaps.append(torch.where(real, 0.5 - torch.atan(steepness * (upper - lower)) / math.pi, 0))
        sequences = _exchanged(sequences, swaps[-1], start)
    ranks = (places < first).to(sequences.dtype)
    for layer in reversed(range(count)):
        ranks = _exchanged(ranks, swaps[layer], layer % 2)
    return ranks


def _neighbours(rows: Tensor, start: int) -> tuple[Tensor, Tensor]:
    upper = rows[start + 1 :: 2]
    return rows[start::2][: len(upper)], upper


def _exchanged(rows: Tensor, swap: Tensor, start: int) -> Tensor:
    """Each two neighbours after a comparator that exchanges them by this share."""
    lower, upper = _neighbours(rows, start)
    moved = swap * (upper - lower)
    change = torch.stack([moved, -moved], 1).flatten(0, 1)
    return rows + F.pad(change, (0, 0, start, len(rows) - start - len(change)))
