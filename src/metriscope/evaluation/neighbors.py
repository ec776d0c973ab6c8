"""Exact nearest neighbours in bounded memory: a block of queries against the gallery, never the whole matrix.

Half the squared distance comes out of one product of rows extended by their norms,
``[-q, 1, |q|^2/2] . [g, |g|^2/2, 1] = |q - g|^2 / 2``, in float32 and clipped at zero. The bits of a float
that is not negative order like an integer, so a neighbour packs into the int64 key ``(bits << 32) | column``.
No two keys are equal: every selection method, on every device, gives the same neighbours, and equal distances
go to the lower column.

On a CPU every thread computes whole blocks by itself, padded to multiples of ``PAD`` rows and columns: a
product then does not depend on the block it is computed in, nor on the number of threads (verified for MKL).
Pairs nearer than float32 resolves, at about 1e-7 of the squared norms, count as equally near.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.errors import RunError

PAD = 16  # below this many rows or columns BLAS turns to kernels that add in another order
GROUP = 64  # columns that a shallow search first represents by their minimum
COLUMN_MASK = 0xFFFFFFFF
BYTES_PER_PAIR = 20  # a float32 distance, an int64 key, and their share that a shallow search copies
BYTES_PER_NEIGHBOUR = 64  # keys, indices and what a visitor derives from them
ROWS = {"cpu": 128}  # a block that stays in cache; other devices prefer large products
ROWS_ELSEWHERE = 2048

Visit = Callable[[Tensor, Tensor], None]


class Blocks(NamedTuple):
    """How a search is cut: ``workers`` threads, each holding ``rows`` queries x ``columns`` gallery items."""

    rows: int
    columns: int
    workers: int


def plan_blocks(gallery_size: int, k: int, memory_mb: float, device: torch.device) -> Blocks:
    """The largest useful blocks whose temporaries, over all threads, stay within ``memory_mb`` MiB.

    Rows go first, down to ``PAD``; below that the gallery is cut too. The smallest block is ``PAD`` x
    ``GROUP``.
    """
    workers = torch.get_num_threads() if device.type == "cpu" else 1
    budget = int(memory_mb * 2**20) // workers
    columns = _round_up(max(gallery_size, 1), GROUP)
    rows = budget // (BYTES_PER_PAIR * columns + BYTES_PER_NEIGHBOUR * k)
    rows = min(rows // PAD * PAD, ROWS.get(device.type, ROWS_ELSEWHERE))
    if rows < PAD:
        rows = PAD
        fitting = (budget // rows - BYTES_PER_NEIGHBOUR * k) // BYTES_PER_PAIR
        columns = min(columns, max(fitting // GROUP, 1) * GROUP)
    return Blocks(rows, columns, workers)


def visit_nearest(
    queries: Tensor,
    gallery: Tensor,
    k: int | Tensor,
    visit: Visit,
    *,
    exclude_self: bool = False,
    memory_mb: float = 256,
) -> None:
    """Hand the nearest neighbours of every query to ``visit``, block by block.

    Args:
        queries: (Q, D).
        gallery: (N, D), on the same device.
        k: how many neighbours, or (Q,) how many for each query. Fewer come where the gallery has fewer.
        visit: called as ``visit(rows, indices)`` with the positions (b,) of the block's queries and the
            gallery positions (b, k) of their neighbours, nearest first, ties by the lower position. With one
            k per query, a block is as deep as its deepest query needs. Each query comes once, in no promised
            order; calls come from several threads, so write to disjoint places.
        exclude_self: queries are the gallery, and item i is no neighbour of itself (leave-one-out by
            position).
        memory_mb: bound on the temporaries in MiB; see :func:`plan_blocks`.

    Raises:
        RunError: embeddings that are not finite, or too large to be squared in float32.
    """
    if exclude_self and len(queries) != len(gallery):
        raise ValueError(f"leave-one-out needs queries = gallery, got {len(queries)} and {len(gallery)} rows")
    if len(queries) == 0:
        return
    device = queries.device
    available = max(len(gallery) - int(exclude_self), 0)
    depths = torch.as_tensor(k, device=device).expand(len(queries)).clamp(0, available)
    order = depths.argsort(stable=True)
    left, right = _extend(queries, gallery)
    blocks = plan_blocks(len(gallery), int(depths.max()), memory_mb, device)
    tiles = torch.split(order, blocks.rows)

    @torch.inference_mode()  # per thread: lets a visitor fill tensors made in inference mode
    def work(worker: int) -> None:
        search = _Search(right, blocks, exclude_self)
        for rows in tiles[worker :: blocks.workers]:
            visit(rows, search(left, rows, int(depths[rows[-1]])))

    with _full_precision(device):
        if device.type == "cpu":
            with _single_threaded_workers(blocks.workers) as pool:
                list(pool.map(work, range(blocks.workers)))
        else:
            work(0)


def nearest(queries: Tensor, gallery: Tensor, k: int, *, exclude_self: bool = False, memory_mb: float = 256) -> Tensor:
    """The gallery positions (Q, min(k, available)) of each query's neighbours, nearest first.

    Arguments and errors as in :func:`visit_nearest`.
    """
    available = max(len(gallery) - int(exclude_self), 0)
    found = torch.empty(len(queries), min(k, available), dtype=torch.int64, device=queries.device)

    def keep(rows: Tensor, indices: Tensor) -> None:
        found[rows] = indices

    visit_nearest(queries, gallery, k, keep, exclude_self=exclude_self, memory_mb=memory_mb)
    return found


class _Search:
    """One thread's search and its buffers: fresh memory for every block would cost as much as selecting."""

    def __init__(self, right: Tensor, blocks: Blocks, exclude_self: bool) -> None:
        self.right, self.blocks, self.exclude_self = right, blocks, exclude_self
        self.distances = right.new_empty(blocks.rows * blocks.columns)
        self.keys = torch.empty_like(self.distances, dtype=torch.int64)
        self.columns = torch.arange(len(right), device=right.device)

    def __call__(self, left: Tensor, rows: Tensor, k: int) -> Tensor:
        padding = rows[-1:].expand(_round_up(len(rows), PAD) - len(rows))
        block = left[torch.cat([rows, padding])]
        best = self.keys.new_empty(len(block), 0)
        for columns in torch.split(self.columns, self.blocks.columns):
            distances = self._distances(block, rows, columns)
            best = _smallest(torch.cat([best, self._candidates(distances, columns, k)], 1), k)
        return best[: len(rows)] & COLUMN_MASK

    def _distances(self, block: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        first, width = int(columns[0]), len(columns)
        out = self.distances[: len(block) * width].view(len(block), width)
        torch.mm(block, self.right[first : first + width].T, out=out).clamp_(min=0)
        if self.exclude_self:
            inside = ((rows >= first) & (rows < first + width)).nonzero().squeeze(1)
            out[inside, rows[inside] - first] = torch.inf
        return out

    def _candidates(self, distances: Tensor, columns: Tensor, k: int) -> Tensor:
        """The keys (b, <= k) of the nearest columns.

        For small k only the k groups of consecutive columns with the smallest minima are ranked: an item of
        any other group has k items before it, and at equal distance the earlier group holds the lower
        columns.
        """
        b, width = distances.shape
        keys = self.keys[: b * width].view(b, width)
        if 4 * k * GROUP <= width:
            groups = self.columns[: width // GROUP]
            minima = distances.view(b, -1, GROUP).amin(2)
            chosen = _smallest(_pack(minima, groups, keys.view(-1)[: minima.numel()].view_as(minima)), k)
            inside = ((chosen & COLUMN_MASK)[:, :, None] * GROUP + self.columns[:GROUP]).flatten(1)
            distances, columns = distances.gather(1, inside), inside + columns[0]
            keys = self.keys[: inside.numel()].view_as(inside)
        return _smallest(_pack(distances, columns, keys), k)


def _pack(distances: Tensor, columns: Tensor, out: Tensor) -> Tensor:
    return out.copy_(distances.view(torch.int32)).bitwise_left_shift_(32).bitwise_or_(columns)


def _smallest(keys: Tensor, k: int) -> Tensor:
    """The k smallest keys of each row, ascending; may reorder ``keys``."""
    k = min(k, keys.shape[1])
    if keys.device.type != "cpu":
        return keys.topk(k, dim=1, largest=False, sorted=True).values
    # numpy's vectorised partition is many times faster than torch.topk, and releases the interpreter lock.
    array = keys.numpy()
    if 0 < k < array.shape[1]:
        array.partition(k - 1, axis=1)
    array[:, :k].sort(axis=1)
    return keys[:, :k]


def _extend(queries: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
    left, right = queries.detach().float(), gallery.detach().float()
    halves = [x.double().square().sum(1, keepdim=True).float() / 2 for x in (left, right)]
    for name, half in zip(("query", "gallery"), halves, strict=True):
        bad = int((~half.isfinite()).sum())
        if bad:
            raise RunError(f"{bad} of {len(half)} {name} embeddings are not finite or too large for float32")
    left = torch.cat([-left, torch.ones_like(halves[0]), halves[0]], 1)
    right = torch.cat([right, halves[1], torch.ones_like(halves[1])], 1)
    # Padding lies infinitely far away, so it is never among the neighbours that exist.
    padding = right.new_zeros(_round_up(max(len(right), 1), GROUP) - len(right), right.shape[1])
    padding[:, -2] = torch.inf
    return left, torch.cat([right, padding])


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    """No TF32 or bfloat16 products, whatever the training asked for."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def _single_threaded_workers(workers: int) -> Iterator[ThreadPoolExecutor]:
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)  # torch keeps part of this setting per process


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
