"""All pairs of a set, or of queries with a gallery, by tiles of the matrix of scores that are discarded after use.

Samples are sorted by class, so that the positive pairs of a tile are few rectangles. A set with itself takes the tiles
of the upper triangle. Every pass visits the same tiles, so that a pair has the same score, bit for bit, in each of
them. A CPU computes single tiles in threads; elsewhere they follow one another.
"""

import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from metriscope.evaluation.search.workers import single_threaded_workers
from metriscope.evaluation.verification import scores
from metriscope.evaluation.verification.rates import ClassCounts
from metriscope.evaluation.verification.scores import EXCLUDED, counters, make_directions, places

SIDE, SIDE_ELSEWHERE = 1024, 4096
"""Rows and columns of a tile, on a CPU and on other devices: 8 MB and 134 MB."""

SHARED_TILES = 32
"""So many tiles are worth sharing out: fewer cost less than adding up the counts of all processes, 134 MB."""

_SENT = 2**20
"""Counts that are added up at a time, 8 MB, as what adds them may want as much memory again."""

Look = Callable[[slice, slice, Tensor], None]


class Ranks(Protocol):
    """The processes that share the tiles of one set."""

    @property
    def rank(self) -> int:
        """Of this process, from 0."""

    @property
    def world(self) -> int:
        """How many there are."""

    @property
    def reduce(self) -> Callable[[Tensor], object]:
        """Adds up a contiguous tensor over all of them, in place."""


class _Side(NamedTuple):
    """Samples sorted by class."""

    embeddings: Tensor
    order: Tensor
    """(N,) where the samples stand in ``embeddings``."""
    classes: Tensor
    """(N,) ascending."""
    starts: list[int]
    """(C + 1,) where each class begins, and the end."""

    def rows(self, these: slice, stored: Tensor, out: Tensor) -> Tensor:
        """Directions of a slice, (n, D) float64 in ``out``; ``stored`` is room for its embeddings."""
        count = these.stop - these.start
        torch.index_select(self.embeddings, 0, self.order[these], out=stored[:count])
        return make_directions(out[:count].copy_(stored[:count]))

    def within(self, label: int, these: slice) -> slice:
        """The part of a slice that is of one class, from the first of the slice on."""
        start = min(max(self.starts[label], these.start), these.stop)
        stop = min(max(self.starts[label + 1], these.start), these.stop)
        return slice(start - these.start, stop - these.start)


class TiledPairs:
    """All pairs of a set without those of a sample with itself; or each query with each sample of the gallery.

    Args:
        embeddings: (N, D).
        labels: (N,) integers.
        queries: bool (N,), True for a query and False for a sample of the gallery; None for all pairs of the set.

    Attributes:
        ranks: the processes that hold the same set, ask for the same passes in the same order, and share the tiles of
            each of them; None where this one visits them all.
    """

    def __init__(self, embeddings: Tensor, labels: Tensor, queries: Tensor | None = None) -> None:
        self.ranks: Ranks | None = None
        self.labels, classes = torch.unique(labels, return_inverse=True)
        """(C,) of the classes, whose number stands for them."""
        self.alone = queries is None
        every = torch.arange(len(labels), device=labels.device)
        asking, kept = (every, every) if queries is None else (every[queries], every[~queries])
        self._left = self._side(embeddings.detach(), classes, asking)
        self._right = self._left if queries is None else self._side(embeddings.detach(), classes, kept)

    def _side(self, embeddings: Tensor, classes: Tensor, members: Tensor) -> _Side:
        order = members[classes[members].argsort(stable=True)]
        counts = torch.bincount(classes[members], minlength=len(self.labels))
        starts = [0, *counts.cumsum(0).tolist()]
        return _Side(embeddings, order, classes[order], starts)

    def counted(self) -> tuple[Tensor, Tensor]:
        """The number of positive and of negative pairs by place, each (2 GRID + 2,) int64.

        O(N^2 D) time, over the number of processes that share it; 134 MB of memory beside the tiles of the threads,
        whatever N.
        """
        device = self._left.embeddings.device
        positive, every = counters(device), counters(device)
        ones, lock = torch.ones(self._side_of_tile() ** 2, dtype=torch.int64, device=device), threading.Lock()

        def look(rows: slice, columns: slice, tile: Tensor) -> None:
            with lock:
                every.scatter_add_(0, tile.view(-1), ones[: tile.numel()])
            for part in self._positive(rows, columns):
                found = tile[part].flatten()
                with lock:
                    positive.scatter_add_(0, found, ones[: len(found)])

        self._visit(look)
        self._join(positive, every)
        positive[EXCLUDED] = every[EXCLUDED] = 0
        return positive, every.sub_(positive)

    def by_class(self, edges: Tensor) -> ClassCounts:
        """For each class the pairs that thresholds accept, of one more pass.

        Args:
            edges: (T,) int64, places, ascending.
        """
        classes, steps = len(self.labels), len(edges)
        accepted = torch.zeros(2, classes * steps, dtype=torch.int64, device=edges.device)
        lock, first = threading.Lock(), int(edges[0])

        def look(rows: slice, columns: slice, tile: Tensor) -> None:
            found = (tile >= first).view(-1).nonzero().squeeze(1)
            step = torch.searchsorted(edges, tile.view(-1)[found], right=True) - 1
            row = found.div(tile.shape[1], rounding_mode="floor")
            left = self._left.classes[rows][row]
            right = self._right.classes[columns][found.sub_(row, alpha=tile.shape[1])]
            same = left == right
            positive = torch.bincount((left * steps + step)[same], minlength=classes * steps)
            apart, at = ~same, step[~same]
            of_both = torch.cat([left[apart] * steps + at, right[apart] * steps + at])
            with lock:
                accepted[0] += positive
                accepted[1].scatter_add_(0, of_both, torch.ones_like(of_both))

        self._visit(look)
        self._join(accepted)
        positive, negative = accepted.view(2, classes, steps).flip(2).cumsum(2).flip(2)
        return ClassCounts(self.labels, edges, positive, negative, *self._totals())

    def _totals(self) -> tuple[Tensor, Tensor]:
        """The positive and the negative pairs of each class (C,)."""
        left, right = (torch.tensor(side.starts).diff().to(self.labels.device) for side in (self._left, self._right))
        if self.alone:
            return left * (left - 1) // 2, left * (left.sum() - left)
        return left * right, left * (right.sum() - right) + right * (left.sum() - left)

    def _positive(self, rows: slice, columns: slice) -> Iterator[tuple[slice, slice]]:
        """The rectangles of a tile in which rows and columns are of one class."""
        left, right = self._left.classes, self._right.classes
        first = max(int(left[rows.start]), int(right[columns.start]))
        last = min(int(left[rows.stop - 1]), int(right[columns.stop - 1]))
        for label in range(first, last + 1):
            part = self._left.within(label, rows), self._right.within(label, columns)
            if all(one.stop > one.start for one in part):
                yield part

    def _side_of_tile(self) -> int:
        return SIDE if self._left.embeddings.device.type == "cpu" else SIDE_ELSEWHERE

    def _tiles(self, side: int) -> Iterator[tuple[slice, slice]]:
        for first in range(0, len(self._left.order), side):
            for start in range(first if self.alone else 0, len(self._right.order), side):
                yield (
                    slice(first, min(first + side, len(self._left.order))),
                    slice(start, min(start + side, len(self._right.order))),
                )

    def _sharing(self) -> Ranks | None:
        """The processes, where there are tiles enough for them."""
        if self.ranks is None:
            return None
        fewest = max(SHARED_TILES, self.ranks.world)
        enough = sum(1 for _ in islice(self._tiles(self._side_of_tile()), fewest)) == fewest
        return self.ranks if enough else None

    def _join(self, *counts: Tensor) -> None:
        """Adds up what all processes have counted, in place."""
        ranks = self._sharing()
        if ranks is None:
            return
        for one in counts:
            for part in torch.split(one.view(-1), _SENT):
                ranks.reduce(part)

    def _visit(self, look: Look) -> None:
        """Calls ``look`` with every tile of places, which is valid until it returns, from several threads on a CPU.

        With those of this process, where processes share them.
        """
        side, device, ranks = self._side_of_tile(), self._left.embeddings.device, self._sharing()
        tiles, next_tile = self._tiles(side), threading.Lock()
        if ranks is not None:
            tiles = islice(tiles, ranks.rank, None, ranks.world)

        embeddings = self._left.embeddings

        @torch.inference_mode()
        def work(worker: int) -> None:
            # Memory of its own for all tiles: what is allocated for each is scattered over huge pages that stay.
            buffer = torch.empty(side * side, dtype=torch.float64, device=device)
            stored = embeddings.new_empty(side, embeddings.shape[1])
            of_rows, of_columns = (torch.empty_like(stored, dtype=torch.float64) for _ in range(2))
            held, left = None, buffer
            while True:
                with next_tile:
                    rows, columns = next(tiles, (None, None))
                if rows is None or columns is None:
                    return
                if rows != held:
                    held, left = rows, self._left.rows(rows, stored, of_rows).mul_(scores.GRID)
                right = self._right.rows(columns, stored, of_columns)
                out = buffer[: len(left) * len(right)].view(len(left), len(right))
                tile = places(torch.mm(left, right.T, out=out))
                if self.alone and rows == columns:
                    tile.masked_fill_(torch.ones_like(tile, dtype=torch.bool).tril_(), EXCLUDED)
                look(rows, columns, tile)

        if device.type != "cpu":
            work(0)
            return
        with single_threaded_workers(torch.get_num_threads()) as pool:
            list(pool.map(work, range(torch.get_num_threads())))
