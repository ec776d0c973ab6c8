"""Half the squared distance between the rows of two sets, in float32.

It is |q|^2/2 + |g|^2/2 - q.g of rows that are moved so that the gallery's mean lies near the origin, clipped at zero;
the move is computed in float64. Its error is at most (D + 8) 2^-24 of |q|^2/2 + |g|^2/2, with norms after the move.
Where it falls below ``CLOSE`` = 2^-12 of these norms, the digits that are lost are those that count: there it is
computed from the differences of the given numbers (:mod:`metriscope.evaluation.search.close`), and its error is at most
(D + 8) 2^-24 of itself. So two items whose distances differ, by a share of (D + 8) 2^-11 at least, rank as in
float64, wherever the points lie and however close they are to one another; equal rows are at zero.

On a CPU every thread computes whole blocks, padded to multiples of ``PAD`` rows and columns: a value then depends
neither on the block in which it is computed nor on the number of threads (verified for MKL). The norms are added first
and the product is subtracted from their sum, so that exchanging q and g changes no bit either.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from metriscope.evaluation.search.close import resolve
from metriscope.evaluation.search.points import Points

PAD = 16  # smaller blocks use BLAS kernels with a different summation order, which changes the last bits


def padded(these: Points, multiple: int) -> Points:
    """The points with padding to a multiple of ``multiple`` rows, and at least ``multiple`` rows."""
    missing = round_up(max(len(these.rows), 1), multiple) - len(these.rows)
    if missing == 0:
        return these._replace(rows=these.rows.contiguous())
    rows = torch.cat([these.rows, these.rows.new_zeros(missing, these.rows.shape[1])])
    half = torch.cat([these.half, these.half.new_full((missing, 1), torch.inf)])
    places = torch.cat([these.places, these.places.new_zeros(missing)])
    factors = these.factors
    if factors is not None:
        factors = torch.cat([factors, factors.new_ones(missing, 1)])
    return these._replace(rows=rows, half=half, places=places, factors=factors)


def half_distances(left: Points, right: Points, out: Tensor) -> Tensor:
    """(a, b) distances of a and b points, written to ``out``."""
    return weighed(left, right, resolve(left, right, products(left, right, out)))


def weighed(left: Points, right: Points, out: Tensor) -> Tensor:
    """Distances (a, b) times the factors of both points, where they have some, in place."""
    if left.factors is None or right.factors is None:
        return out
    # One number for both factors of a pair: exchanging the points changes no bit.
    return out.mul_(left.factors * right.factors.T)


def products(left: Points, right: Points, out: Tensor) -> Tensor:
    """The same before those of close pairs are resolved."""
    torch.add(left.half, right.half.T, out=out)
    return out.addmm_(left.rows, right.rows.T, alpha=-1).clamp_(min=0)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Disables TF32 and bfloat16 in products of float32 matrices, whatever the training uses."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is at least ``value``."""
    return -(-value // multiple) * multiple
