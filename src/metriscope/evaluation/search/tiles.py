"""The k nearest columns of every row, from tiles of the matrix of distances that are discarded after use.

Where queries are the gallery, a tile is used for its rows and its columns, so half of the matrix is enough. Every row
has a limit, the k-th smallest distance so far. After the first tiles hardly any pair is below it, so that selection
takes about one comparison per pair. A pair is ranked by (distance bits, column), as everywhere in the search.
"""

import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metriscope.evaluation.search.half_distances import PAD
from metriscope.evaluation.search.workers import single_threaded_workers

Product = Callable[[slice, slice], Tensor]
"""Rows and columns -> the distances (a, b) >= 0 of a tile, contiguous, valid until the next call."""

LARGEST_SIDE, SMALLEST_SIDE = 1024, 256
BYTES_PER_PAIR = 64  # of a tile; most of it is used only while every pair passes, such as among equal points
BYTES_PER_NEIGHBOUR = 24  # the best keys, and their share of the temporaries
NOTHING = (0x7F800000 << 32) | 0xFFFFFFFF  # the key of an infinite distance: it sorts after all others


class Tiling(NamedTuple):
    """The tiles of a sweep: ``workers`` threads, each holding a tile of ``side`` x ``side`` pairs."""

    side: int
    workers: int


def plan_tiles(queries: int, gallery: int, k: int, memory_mb: float) -> Tiling | None:
    """The largest tiles within ``memory_mb`` MiB; None where a sweep is not faster or does not fit."""
    workers = torch.get_num_threads()
    budget = memory_mb * 2**20 - queries * k * BYTES_PER_NEIGHBOUR
    side = LARGEST_SIDE
    while side >= SMALLEST_SIDE and workers * side**2 * BYTES_PER_PAIR > budget:
        side //= 2
    return Tiling(side, workers) if side >= SMALLEST_SIDE and 4 * k <= side and gallery >= 2 * side else None


def sweep(
    make_product: Callable[[int], Product],
    queries: int,
    gallery: int,
    k: int,
    tiling: Tiling,
    *,
    symmetric: bool,
    exclude_self: bool,
) -> Tensor:
    """The keys (queries, k) of each row's nearest columns, ascending; see :mod:`metriscope.evaluation.search.ranking`.

    Args:
        make_product: the side of the largest tile -> a product with its own buffers; called once per thread, because
            allocating memory for every tile costs as much as the selection.
        queries, gallery: number of rows and columns, multiples of ``PAD``; points at infinite distance are not
            neighbours.
        symmetric: the matrix equals its transpose in every bit.
        exclude_self: pairs on the diagonal are not neighbours.
    """
    side = tiling.side
    strips = [_Strip(min(side, queries - first), k) for first in range(0, queries, side)]
    tiles = _tiles(queries, gallery, side, symmetric)
    next_tile = threading.Lock()

    @torch.inference_mode()
    def work(worker: int) -> None:
        product, mask = make_product(side), np.empty(side * side, np.bool_)
        while True:
            with next_tile:
                tile = next(tiles, None)
            if tile is None:
                return
            rows, columns = tile
            values = product(rows, columns)
            if exclude_self and rows.start == columns.start:
                values.fill_diagonal_(torch.inf)
            strips[rows.start // side].offer(values, columns.start, mask)
            if symmetric and rows != columns:
                strips[columns.start // side].offer_columns(values, rows.start, mask)

    with single_threaded_workers(tiling.workers) as pool:
        list(pool.map(work, range(tiling.workers)))
    keys = np.concatenate([strip.keys for strip in strips])
    keys.sort(axis=1)
    return torch.from_numpy(keys)


def _tiles(queries: int, gallery: int, side: int, symmetric: bool) -> Iterator[tuple[slice, slice]]:
    """Tiles row by row: every row gets its candidates in ascending order, so later ties do not pass the limit."""
    assert queries % PAD == gallery % PAD == 0
    for first in range(0, queries, side):
        for start in range(first if symmetric else 0, gallery, side):
            yield slice(first, min(first + side, queries)), slice(start, min(start + side, gallery))


class _Strip:
    """The k best keys of ``size`` consecutive rows so far, in any order."""

    def __init__(self, size: int, k: int) -> None:
        self.k = k
        self.keys = np.full((size, k), NOTHING)
        self.last = np.full(size, NOTHING)  # the largest of each row's keys
        self.lock = threading.Lock()

    def offer(self, values: Tensor, first: int, mask: NDArray[np.bool_]) -> None:
        """Takes distances (size, b) of the rows to the columns from ``first`` on."""
        limits = self._limits(first, values)
        array = values.numpy()
        found = np.flatnonzero(np.less_equal(array, limits[:, None], out=mask[: array.size].reshape(array.shape)))
        rows, columns = np.divmod(found, array.shape[1])
        self._merge(rows, columns + first, array.reshape(-1)[found])

    def offer_columns(self, values: Tensor, first: int, mask: NDArray[np.bool_]) -> None:
        """Takes the transpose (b, size) of such distances."""
        limits = self._limits(first, values.T)
        array = values.numpy()
        found = np.flatnonzero(np.less_equal(array, limits, out=mask[: array.size].reshape(array.shape)))
        columns, rows = np.divmod(found, array.shape[1])
        order = rows.astype(np.uint16).argsort(kind="stable")  # 16 bits: a radix sort
        self._merge(rows[order], columns[order] + first, array.reshape(-1)[found[order]])

    def _limits(self, first: int, values: Tensor) -> NDArray[np.float32]:
        """The largest distance (size,) worth keeping, finite."""
        last = self.last.copy()
        limits: NDArray[np.float32] = (last >> 32).astype(np.int32).view(np.float32)
        # A tie in a column after that of the last key is no better.
        np.copyto(limits, np.nextafter(limits, np.float32(-1)), where=(last & 0xFFFFFFFF) < first)
        if np.isinf(limits).any():
            np.minimum(limits, self._first_limits(values), out=limits)
        np.minimum(limits, np.finfo(np.float32).max, out=limits)
        return limits

    def _first_limits(self, values: Tensor) -> NDArray[np.float32]:
        """The k-th smallest minimum over groups of columns: at least k values lie within it."""
        size, width = values.shape
        group = max(width // (4 * self.k), 1)
        groups = width // group
        if groups < self.k:
            return np.full(size, np.inf, np.float32)
        minima = values[:, : groups * group].reshape(size, groups, group).amin(2).numpy()
        limits: NDArray[np.float32] = np.partition(minima, self.k - 1, axis=1)[:, self.k - 1]
        return limits

    def _merge(self, rows: NDArray[np.int64], columns: NDArray[np.int64], values: NDArray[np.float32]) -> None:
        """Merges candidates, which are sorted by row."""
        if len(rows) == 0:
            return
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        counts = np.diff(starts, append=len(rows))
        touched = rows[starts]
        line = np.repeat(np.arange(len(starts)), counts)
        place = np.arange(len(rows)) - starts[line]
        table = np.full((len(starts), self.k + counts.max()), NOTHING)
        table[line, self.k + place] = (values.view(np.int32).astype(np.int64) << 32) | columns
        with self.lock:
            table[:, : self.k] = self.keys[touched]
            table.partition(self.k - 1, axis=1)
            self.keys[touched] = table[:, : self.k]
            self.last[touched] = table[:, self.k - 1]
