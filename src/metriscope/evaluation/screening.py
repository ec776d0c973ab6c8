"""Neighbours from bfloat16 products, proven to be those of float32.

With rounded rows q~ and g~, |q.g - q~.g~| <= rho (2 + rho) |q| |g|, where rho is the largest |z - z~| / |z| of any
row; and |q| |g| is at most |q|^2/2 + |g|^2/2. So is what a sum of D products in float32 can lose, (D + 2) 2^-24 of
it (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). Norms shrunk by the sum of these shares
make a distance a **lower bound** of the one in float32, whatever the order of additions.

The nearest by this bound, some more of them than asked for, are ranked again in float32. They hold the answer of a
row if the last of the answer is nearer than the largest bound among them: all others lie beyond. Rows for which
that cannot be said are left to the search in float32.
"""

import time
from functools import cache

import torch
from torch import Tensor

from metriscope.evaluation.half_distances import PAD, Points, half_distances
from metriscope.evaluation.ranking import COLUMN_MASK, distances_of, pack, smallest
from metriscope.evaluation.sweep import NOTHING, Tiling, sweep

SMALLEST_DIMENSION = 64  # below it most of the time goes elsewhere than into the product
SHARE_OF_ROUNDING = 2**-8 * 1.01  # of a product returned in bfloat16, 8 bits of significand
UNDERFLOW = 2.0**-81  # absolute, per side: what D < 2^14 products of numbers below 2^-126 can lose
RANGE = 2.0**-50, 2.0**60  # of the largest half squared norm, between under- and overflow


@cache
def pays() -> bool:
    """Whether this machine multiplies bfloat16 clearly faster than float32, by trying: a matter of milliseconds."""
    slow = torch.ones(256, 512)
    return _seconds(slow.bfloat16()) < 0.67 * _seconds(slow)


def _seconds(block: Tensor) -> float:
    taken = []
    for _ in range(4):
        before = time.perf_counter()
        block @ block.T
        taken.append(time.perf_counter() - before)
    return min(taken)


def suits(*sets: Points) -> bool:
    """Whether the bound holds for such points."""
    largest = max(float(each.half[each.half.isfinite()].max()) for each in sets)
    dimension = sets[0].rows.shape[1]
    return SMALLEST_DIMENSION <= dimension < 2**14 and RANGE[0] <= largest <= RANGE[1]


def candidates(k: int) -> int:
    """How many are ranked again to find k."""
    return 2 * k + 16


def screened(
    queries: Points, gallery: Points, k: int, tiling: Tiling, *, symmetric: bool, exclude_self: bool
) -> tuple[Tensor, Tensor]:
    """The keys (Q, k) of each query's neighbours, ascending, and for which queries (Q,) they are proven to be.

    Args:
        queries, gallery: padded to multiples of ``PAD``, and such that :func:`suits`.
        k: at most the neighbours that there are; ``candidates(k)`` may be more.
        tiling: made for ``candidates(k)``.
        symmetric: queries are the gallery.
    """
    left = _Screen(queries)
    right = left if symmetric else _Screen(gallery)
    share = _share(max(left.rounding, right.rounding), queries.rows.shape[1])
    lows = [(1 - share) * each.half - UNDERFLOW for each in (queries, gallery)]

    def lower_bounds(rows: slice, columns: slice, out: Tensor) -> Tensor:
        # A product below zero counts as zero: it may only make the bound lower.
        product = torch.mm(left.rows[rows], right.rows[columns].T).clamp_(min=0).float()
        torch.add(lows[0][rows], lows[1][columns].T, out=out)
        return out.sub_(product, alpha=1 + SHARE_OF_ROUNDING).clamp_(min=0)

    size = len(queries.rows), len(gallery.rows), candidates(k)
    bounds = sweep(lower_bounds, *size, tiling, symmetric=symmetric, exclude_self=exclude_self)
    return _rank_again(queries, gallery, bounds, k)


class _Screen:
    def __init__(self, these: Points) -> None:
        self.rows = these.rows.bfloat16()
        lost = torch.zeros((), dtype=torch.float64)
        for exact, rounded, half in zip(*(x.split(8192) for x in (these.rows, self.rows, these.half)), strict=True):
            error = (exact - rounded).square().sum(1, keepdim=True, dtype=torch.float64)
            lost = torch.maximum(lost, (error / (2 * half.double())).nan_to_num(0).max())
        self.rounding = float(lost.sqrt())


def _share(rounding: float, dimension: int) -> float:
    """Of the sum of half squared norms: rounded rows, then products summed twice, with room for single operations."""
    return 1.01 * (rounding * (2 + rounding) + 4 * (dimension + 8) * 2**-24)


def _rank_again(queries: Points, gallery: Points, bounds: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Exact keys from candidates (Q, m) by bound, and for which rows the first k are proven."""
    m = bounds.shape[1]
    found = bounds.new_empty(len(bounds), k)
    certain = torch.empty(len(bounds), dtype=torch.bool)
    own = torch.arange(PAD)
    for start in range(0, len(bounds), PAD):
        block = bounds[start : start + PAD]
        lower = distances_of(block)
        columns = (block & COLUMN_MASK).clamp_(max=len(gallery.rows) - 1)
        near = gallery.take(columns.flatten())
        # All pairs of 16 queries and their candidates, of which a sixteenth is wanted: bits as in any other block.
        pairs = half_distances(queries.take(slice(start, start + PAD)), near, bounds.new_empty(PAD, PAD * m).float())
        distances = pairs.view(PAD, PAD, m)[own, own].masked_fill(block == NOTHING, torch.inf)
        keys = smallest(pack(distances, columns, torch.empty_like(block)), k)
        found[start : start + PAD] = keys
        # A bound above its distance would mean that this machine computes otherwise than assumed.
        sound = (lower <= distances).all(1)
        certain[start : start + PAD] = sound & (distances_of(keys[:, -1]) < lower[:, -1])
    return found, certain
