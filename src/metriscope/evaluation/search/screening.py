"""Neighbours from bfloat16 products, proven to be those of float32.

With rounded rows q~ and g~, |q.g - q~.g~| <= rho (2 + rho) |q| |g|, where rho is the largest |z - z~| / |z| of any
row; and |q| |g| is at most |q|^2/2 + |g|^2/2. The rounding error of a sum of D products in float32 is at most
(D + 2) 2^-24 of |q|^2/2 + |g|^2/2 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). A distance
from norms shrunk by the sum of these shares is a **lower bound** of the distance in float32, whatever the order of
additions.

The nearest items by this bound, somewhat more than k, are the candidates, which are ranked again in float32. The k
nearest candidates of a row are proven exact if the last of them is nearer than the largest bound among the candidates,
since all other items lie beyond that bound. Other rows are left to the search in float32.
"""

import time
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from metriscope.evaluation.search.half_distances import PAD, half_distances
from metriscope.evaluation.search.points import Points
from metriscope.evaluation.search.ranking import COLUMN_MASK, distances_of, pack, smallest
from metriscope.evaluation.search.tiles import NOTHING, Product, Tiling, sweep
from metriscope.evaluation.search.workers import single_threaded_workers

SMALLEST_DIMENSION = 64  # below it the product takes the smaller part of the time
SHARE_OF_ROUNDING = 2**-8 * 1.01  # rounding of a product returned in bfloat16, which has 8 bits of significand
UNDERFLOW = 2.0**-81  # absolute error, per side, of D < 2^14 products of numbers below 2^-126
RANGE = 2.0**-50, 2.0**60  # limits of the largest half squared norm, against under- and overflow

SAMPLE, ENOUGH = 256, 0.9  # the number of queries tried first, and the share of them that has to be proven


@cache
def pays() -> bool:
    """Whether this machine multiplies bfloat16 clearly faster than float32, measured within milliseconds."""
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
    """Whether the bound holds for these points: it knows nothing of factors."""
    if any(each.factors is not None for each in sets):
        return False
    largest = max(float(each.half[each.half.isfinite()].max()) for each in sets)
    dimension = sets[0].rows.shape[1]
    return SMALLEST_DIMENSION <= dimension < 2**14 and RANGE[0] <= largest <= RANGE[1]


def candidates(k: int) -> int:
    """The number of candidates that are ranked again to find k neighbours."""
    return k + k // 2 + 12


def screened(
    queries: Points, gallery: Points, k: int, tiling: Tiling, *, symmetric: bool, exclude_self: bool
) -> tuple[Tensor, Tensor] | None:
    """The keys (Q, k) of each query's neighbours, ascending, and a mask (Q,) of the queries for which they are proven.

    None where too few queries of a sample are proven, as in classes so dense that bfloat16 does not distinguish their
    members.

    Args:
        queries, gallery: padded to multiples of ``PAD``; :func:`suits` has to hold for them.
        k: at most the number of available neighbours; ``candidates(k)`` may exceed it.
        tiling: made for ``candidates(k)``.
        symmetric: queries are the gallery.
    """
    left = _Screen(queries)
    right = left if symmetric else _Screen(gallery)
    sample = torch.arange(0, len(queries.rows), -(-len(queries.rows) // SAMPLE))
    sample = sample[: len(sample) // PAD * PAD]
    part = _Screen(queries.take(sample))
    bounds = sweep(
        _lower_bounds(part, right),
        len(sample),
        len(gallery.rows),
        candidates(k),
        tiling,
        symmetric=False,
        exclude_self=False,
    )
    certain = _rank_again(part.points, gallery, bounds, k, tiling.workers)[1]
    if float(certain.float().mean()) < ENOUGH:
        return None
    bounds = sweep(
        _lower_bounds(left, right),
        len(queries.rows),
        len(gallery.rows),
        candidates(k),
        tiling,
        symmetric=symmetric,
        exclude_self=exclude_self,
    )
    return _rank_again(queries, gallery, bounds, k, tiling.workers)


class _Screen:
    """Points and their rows in bfloat16."""

    def __init__(self, these: Points) -> None:
        self.points, self.rows = these, these.rows.bfloat16()
        lost = torch.zeros((), dtype=torch.float64)
        for start in range(0, len(self.rows), 8192):
            exact, half = these.take(slice(start, start + 8192))[:2]
            error = (exact - self.rows[start : start + 8192]).square().sum(1, keepdim=True, dtype=torch.float64)
            lost = torch.maximum(lost, (error / (2 * half.double())).nan_to_num(0).max())
        self.rounding = float(lost.sqrt())
        """The largest |z - z~| / |z|."""


def _share(rounding: float, dimension: int) -> float:
    """The error as a share of the sum of half squared norms: rounded rows, products summed twice, a reserve."""
    return 1.01 * (rounding * (2 + rounding) + 4 * (dimension + 8) * 2**-24)


def _lower_bounds(left: _Screen, right: _Screen) -> Callable[[int], Product]:
    share = _share(max(left.rounding, right.rounding), left.rows.shape[1])
    lows = [(1 - share) * each.points.half - UNDERFLOW for each in (left, right)]

    def make_product(side: int) -> Product:
        rounded = torch.empty(side * side, dtype=torch.bfloat16)
        products, bounds = torch.empty(2, side * side)

        def product(rows: slice, columns: slice) -> Tensor:
            low = lows[0][rows], lows[1][columns].T
            shape = len(low[0]), low[1].shape[1]
            tile, exact, out = (buffer[: shape[0] * shape[1]].view(shape) for buffer in (rounded, products, bounds))
            # A product below zero counts as zero, which can only lower the bound.
            exact.copy_(torch.mm(left.rows[rows], right.rows[columns].T, out=tile).clamp_(min=0))
            return torch.add(*low, out=out).sub_(exact, alpha=1 + SHARE_OF_ROUNDING).clamp_(min=0)

        return product

    return make_product


def _rank_again(queries: Points, gallery: Points, bounds: Tensor, k: int, workers: int) -> tuple[Tensor, Tensor]:
    """Exact keys from candidates (Q, m) with their bounds, and a mask of the rows whose first k are proven."""
    m = bounds.shape[1]
    found = bounds.new_empty(len(bounds), k)
    certain = torch.empty(len(bounds), dtype=torch.bool)
    own = torch.arange(PAD)

    @torch.inference_mode()
    def work(worker: int) -> None:
        buffer, rows = torch.empty(PAD, PAD * m), torch.empty(PAD * m, gallery.rows.shape[1])
        for start in range(worker * PAD, len(bounds), workers * PAD):
            these = slice(start, start + PAD)
            block = bounds[these]
            lower = distances_of(block)
            columns = (block & COLUMN_MASK).clamp_(max=len(gallery.rows) - 1)
            # All pairs of 16 queries and their candidates, though only 1 in 16 is needed: this gives the bits of any
            # block.
            near = columns.flatten()
            torch.index_select(gallery.rows, 0, near, out=rows)
            there = gallery._replace(rows=rows, half=gallery.half[near], places=gallery.places[near])
            pairs = half_distances(queries.take(these), there, buffer)
            distances = pairs.view(PAD, PAD, m)[own, own].masked_fill(block == NOTHING, torch.inf)
            keys = smallest(pack(distances, columns, torch.empty_like(block)), k)
            found[these] = keys
            # A bound above its distance would mean that this machine does not compute as assumed.
            sound = (lower <= distances).all(1)
            certain[these] = sound & (distances_of(keys[:, -1]) < lower[:, -1])

    with single_threaded_workers(workers) as pool:
        list(pool.map(work, range(workers)))
    return found, certain
