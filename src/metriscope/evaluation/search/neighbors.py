"""Exact nearest neighbours in bounded memory: a block of queries against the gallery, never the whole matrix.

A neighbour is ranked by half its squared distance in float32
(:mod:`metriscope.evaluation.search.half_distances`), and at equal distance by its position. Three methods give the same
result:

- a search row by row (``RowSearch``), for any k and on any device;
- on a CPU and for small k, tiles that are used for their rows and their columns where queries are the gallery
  (:mod:`metriscope.evaluation.search.tiles`): half the products;
- tiles with products in bfloat16 where the machine computes them faster
  (:mod:`metriscope.evaluation.search.screening`); rows that are not proven exact are searched row by row.

Neighbours are those of float64 up to the error that :mod:`metriscope.evaluation.search.half_distances` states.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.evaluation.search import screening
from metriscope.evaluation.search.close import resolve
from metriscope.evaluation.search.curved import Curved
from metriscope.evaluation.search.half_distances import (
    PAD,
    full_precision,
    half_distances,
    padded,
    products,
    round_up,
    weighed,
)
from metriscope.evaluation.search.limits import SHARE, below_limits
from metriscope.evaluation.search.points import Points, Prepared, both_points
from metriscope.evaluation.search.ranking import COLUMN_MASK, pack, smallest
from metriscope.evaluation.search.tiles import Product, plan_tiles, sweep
from metriscope.evaluation.search.workers import single_threaded_workers

GROUP = 64  # columns that a shallow search first represents by their minimum
BYTES_PER_PAIR = 20  # a float32 distance, an int64 key, and a shallow search's copies of some of them
BYTES_PER_NEIGHBOUR = 64  # keys, indices and the values that a visitor derives from them
ROWS = {"cpu": 128}  # a block that stays in cache; other devices prefer large products
ROWS_ELSEWHERE = 2048

Visit = Callable[[Tensor, Tensor], None]


class Blocks(NamedTuple):
    """The blocks of a search: ``workers`` threads, each holding ``rows`` queries x ``columns`` gallery items."""

    rows: int
    columns: int
    workers: int


def plan_blocks(gallery_size: int, k: int, memory_mb: float, device: torch.device) -> Blocks:
    """The largest useful blocks whose temporaries, over all threads, stay within ``memory_mb`` MiB.

    To fit, the rows of a block are reduced first, down to ``PAD``, and then its columns. The smallest block is
    ``PAD`` x ``GROUP``.
    """
    workers = torch.get_num_threads() if device.type == "cpu" else 1
    budget = int(memory_mb * 2**20) // workers
    columns = round_up(max(gallery_size, 1), GROUP)
    rows = budget // (BYTES_PER_PAIR * columns + BYTES_PER_NEIGHBOUR * k)
    rows = min(rows // PAD * PAD, ROWS.get(device.type, ROWS_ELSEWHERE))
    if rows < PAD:
        rows = PAD
        fitting = (budget // rows - BYTES_PER_NEIGHBOUR * k) // BYTES_PER_PAIR
        columns = min(columns, max(fitting // GROUP, 1) * GROUP)
    return Blocks(rows, columns, workers)


def visit_nearest(
    queries: Tensor,
    gallery: Tensor | Prepared,
    k: int | Tensor,
    visit: Visit,
    *,
    exclude_self: bool = False,
    memory_mb: float = 256,
    space: Curved | None = None,
) -> None:
    """Calls ``visit`` with the nearest neighbours of every query, block by block.

    Args:
        queries: (Q, D).
        gallery: (N, D), on the same device; or prepared, where it is searched often.
        k: how many neighbours, or (Q,) how many for each query. There are fewer where the gallery has fewer.
        visit: called as ``visit(rows, indices)`` with the positions (b,) of the block's queries and the
            gallery positions (b, k) of their neighbours, nearest first, ties by the lower position. With one
            k per query, a block gets the largest k of its queries. Each query occurs once, in unspecified order;
            several threads call ``visit``, so it has to write to disjoint places.
        exclude_self: queries are the gallery, or its first items, and item i is no neighbour of itself (leave-one-out
            by position).
        memory_mb: bound on the temporaries in MiB; see :func:`plan_blocks`.
        space: where embeddings lie, if that is not Euclidean; a prepared gallery knows.

    Raises:
        RunError: embeddings that are not finite, or too large to be squared in float32.
    """
    if exclude_self and len(queries) > len(gallery):
        raise ValueError(f"leave-one-out needs the queries in the gallery, got {len(queries)} and {len(gallery)} rows")
    if len(queries) == 0:
        return
    device = queries.device
    available = max(len(gallery) - int(exclude_self), 0)
    depths = torch.as_tensor(k, device=device).expand(len(queries)).clamp(0, available)
    left, right = both_points(None if exclude_self else queries, gallery, space)
    order = depths.argsort(stable=True)
    # Among the points of a larger gallery queries keep their positions.
    asking = left if len(queries) == len(left.rows) else left.take(slice(len(queries)))
    with full_precision(device):
        order = _visit_swept(asking, right, depths, order, visit, exclude_self, memory_mb)
        _visit_searched(left, right, depths, order, visit, exclude_self, memory_mb)


def _visit_swept(
    left: Points, right: Points, depths: Tensor, order: Tensor, visit: Visit, exclude_self: bool, memory_mb: float
) -> Tensor:
    """Visits the queries whose neighbours are found by tiles, and returns the remaining queries of ``order``."""
    k = int(depths.max())
    swept = _swept(left, right, k, exclude_self, memory_mb) if k and left.rows.device.type == "cpu" else None
    if swept is None:
        return order
    keys, certain = swept
    indices = keys.bitwise_and_(COLUMN_MASK)
    rows = max(int(memory_mb * 2**20) // (BYTES_PER_NEIGHBOUR * k), PAD)
    with torch.inference_mode():
        proven = order[certain[order]]
        for block in torch.split(proven, rows) if len(proven) else ():
            visit(block, indices[block, : int(depths[block[-1]])])
    return order[~certain[order]]


def _swept(left: Points, right: Points, k: int, exclude_self: bool, memory_mb: float) -> tuple[Tensor, Tensor] | None:
    """Keys (Q, k), and a mask (Q,) of the queries whose keys are exact; None where tiles are not faster."""
    # Fewer would not even fill the sample of a screening, for which the gallery has to be rounded.
    if left is not right and len(left.rows) < screening.SAMPLE:
        return None
    symmetric = left is right
    left, right = (padded(left, PAD),) * 2 if symmetric else (padded(left, PAD), padded(right, PAD))
    sizes = len(left.rows), len(right.rows)
    tiling = plan_tiles(*sizes, screening.candidates(k), memory_mb)
    if tiling and screening.suits(left, right) and screening.pays():
        found = screening.screened(left, right, k, tiling, symmetric=symmetric, exclude_self=exclude_self)
        if found:
            return found
    tiling = plan_tiles(*sizes, k, memory_mb)
    if not (tiling and symmetric and exclude_self and _symmetric(left, tiling.side)):
        return None

    def make_product(side: int) -> Product:
        buffer = torch.empty(side * side)

        def product(rows: slice, columns: slice) -> Tensor:
            a, b = left.take(rows), left.take(columns)
            shape = len(a.half), len(b.half)
            return half_distances(a, b, buffer[: shape[0] * shape[1]].view(shape))

        return product

    keys = sweep(make_product, *sizes, k, tiling, symmetric=True, exclude_self=True)
    return keys, torch.ones(len(keys), dtype=torch.bool)


def _symmetric(these: Points, side: int) -> bool:
    """Whether products on this machine are the same for (i, j) and (j, i)."""
    first = these.take(slice(side))
    tile = half_distances(first, first, first.rows.new_empty(side, side))
    return torch.equal(tile, tile.T)


def _visit_searched(
    left: Points, right: Points, depths: Tensor, order: Tensor, visit: Visit, exclude_self: bool, memory_mb: float
) -> None:
    """Visits the queries in ``order``, which are sorted by ascending depth, after a search row by row."""
    if len(order) == 0:
        return
    blocks = plan_blocks(len(right.rows), int(depths[order[-1]]), memory_mb, left.rows.device)
    if blocks.workers > 1 and len(order) <= blocks.rows:
        with torch.inference_mode():
            visit(order, _shared_search(left, right, order, int(depths[order[-1]]), blocks, exclude_self))
        return

    def visit_block(search: RowSearch, rows: Tensor) -> None:
        visit(rows, search(left, rows, int(depths[rows[-1]])))

    search_blocks(order, right, blocks, exclude_self, visit_block)


def _shared_search(left: Points, right: Points, rows: Tensor, k: int, blocks: Blocks, exclude_self: bool) -> Tensor:
    """The gallery positions (q, k) of the neighbours of one block of queries: each thread searches its own columns."""
    share = round_up(-(-len(right.rows) // blocks.workers), GROUP)
    blocks = Blocks(round_up(len(rows), PAD), min(share, blocks.columns), blocks.workers)

    @torch.inference_mode()
    def work(worker: int) -> Tensor:
        search = RowSearch(right, blocks, exclude_self)
        return search.keys_of(left, rows, k, search.stretches[worker :: blocks.workers])

    with single_threaded_workers(blocks.workers) as pool:
        found = torch.cat(list(pool.map(work, range(blocks.workers))), 1)
    return smallest(found, k) & COLUMN_MASK


def search_blocks(
    order: Tensor, right: Points, blocks: Blocks, exclude_self: bool, visit: Callable[["RowSearch", Tensor], None]
) -> None:
    """Calls ``visit(search, rows)`` for blocks of ``order``, from several threads, each with its own search."""
    tiles = torch.split(order, blocks.rows)

    @torch.inference_mode()  # per thread: lets a visitor fill tensors made in inference mode
    def work(worker: int) -> None:
        search = RowSearch(right, blocks, exclude_self)
        for rows in tiles[worker :: blocks.workers]:
            visit(search, rows)

    if order.device.type == "cpu":
        with single_threaded_workers(blocks.workers) as pool:
            list(pool.map(work, range(blocks.workers)))
    else:
        work(0)


def whole_block(left: Points, rows: Tensor) -> Points:
    """The queries ``rows``, the last repeated up to a multiple of ``PAD``."""
    padding = rows[-1:].expand(round_up(len(rows), PAD) - len(rows))
    return left.take(torch.cat([rows, padding]))


def nearest(
    queries: Tensor,
    gallery: Tensor | Prepared,
    k: int,
    *,
    exclude_self: bool = False,
    memory_mb: float = 256,
    space: Curved | None = None,
) -> Tensor:
    """The gallery positions (Q, min(k, available)) of each query's neighbours, nearest first.

    Arguments and errors as in :func:`visit_nearest`.
    """
    available = max(len(gallery) - int(exclude_self), 0)
    found = torch.empty(len(queries), min(k, available), dtype=torch.int64, device=queries.device)

    def keep(rows: Tensor, indices: Tensor) -> None:
        found[rows] = indices

    visit_nearest(queries, gallery, k, keep, exclude_self=exclude_self, memory_mb=memory_mb, space=space)
    return found


class RowSearch:
    """One thread's search and its buffers: allocating memory for every block would cost as much as the selection."""

    def __init__(self, right: Points, blocks: Blocks, exclude_self: bool) -> None:
        self.right, self.blocks, self.exclude_self = right._replace(rows=right.rows.contiguous()), blocks, exclude_self
        self.buffer = right.rows.new_empty(blocks.rows * blocks.columns)
        self.keys = torch.empty_like(self.buffer, dtype=torch.int64)
        whole = len(right.rows) // GROUP * GROUP
        # Only the last columns are padded: a padded gallery would be a copy of it.
        self.last = padded(right.take(slice(whole, None)), GROUP) if whole < max(len(right.rows), 1) else None
        self.columns = torch.arange(whole + (GROUP if self.last else 0), device=right.rows.device)
        self.stretches = torch.split(self.columns, blocks.columns)

    def __call__(self, left: Points, rows: Tensor, k: int) -> Tensor:
        return self.keys_of(left, rows, k, self.stretches) & COLUMN_MASK

    def keys_of(self, left: Points, rows: Tensor, k: int, stretches: Sequence[Tensor]) -> Tensor:
        """The keys (b, <= k) of the nearest of these columns, ascending."""
        block = whole_block(left, rows)
        best = self.keys.new_empty(len(block.rows), 0)
        for columns in stretches:
            distances = self.distances_to(block, rows, columns)
            found = self._candidates(distances, columns, k)
            best = smallest(torch.cat([best, found], 1), k) if len(stretches) > 1 else found
        return best[: len(rows)]

    def distances_to(self, block: Points, rows: Tensor, columns: Tensor) -> Tensor:
        """Distances (b, c) from a padded block of queries to consecutive columns; the next call overwrites them."""
        first, width = int(columns[0]), len(columns)
        out = self.buffer[: len(block.rows) * width].view(len(block.rows), width)
        # A part of the gallery, and where the columns go beyond its end the padded last columns.
        whole = len(self.right.rows) // GROUP * GROUP
        within = width if first + width <= len(self.right.rows) else max(whole - first, 0)
        parts = [(self.right.take(slice(first, first + within)), out[:, :within])] if within else []
        if self.last and within < width:
            parts.append((self.last, out[:, within:]))
        for there, part in parts:
            products(block, there, part)
        if self.exclude_self:
            own = ((rows >= first) & (rows < first + width)).nonzero().squeeze(1)
            out[own, rows[own] - first] = torch.inf  # before close pairs are looked for: these are no pairs
        for there, part in parts:
            weighed(block, there, resolve(block, there, part))
        return out

    def _candidates(self, distances: Tensor, columns: Tensor, k: int) -> Tensor:
        """The keys (b, <= k) of the nearest columns.

        For small k only the k groups of consecutive columns with the smallest minima are ranked: an item of
        any other group has k items before it, and at equal distance the earlier group holds the lower
        columns. For larger k, on a CPU, only the columns within a limit are ranked.
        """
        b, width = distances.shape
        keys = self.keys[: b * width].view(b, width)
        if 4 * k * GROUP <= width:
            groups = self.columns[: width // GROUP]
            minima = distances.view(b, -1, GROUP).amin(2)
            chosen = smallest(pack(minima, groups, keys.view(-1)[: minima.numel()].view_as(minima)), k)
            inside = ((chosen & COLUMN_MASK)[:, :, None] * GROUP + self.columns[:GROUP]).flatten(1)
            distances, columns = distances.gather(1, inside), inside + columns[0]
            keys = self.keys[: inside.numel()].view_as(inside)
        elif k <= width // SHARE and distances.device.type == "cpu":
            return below_limits(distances, int(columns[0]), k, keys)
        return smallest(pack(distances, columns, keys), k)
