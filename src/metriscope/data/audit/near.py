"""All pairs of signatures within a distance, and the groups that pairs connect, in bounded memory."""

from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from metriscope.evaluation.search.half_distances import full_precision
from metriscope.evaluation.search.workers import single_threaded_workers

_SIDE = 1024  # rows and columns of a tile of distances, 4 MiB
_AT_ONCE = 8  # tiles whose pairs are held at a time
_CONFIRMED = 2048  # pairs whose distance is computed in float64 at a time

_EDGES = 2**20  # edges that are held before components are computed

Pairs = tuple[Tensor, Tensor, Tensor]
Positions = np.ndarray[tuple[int], np.dtype[np.int64]]

_NONE: Pairs = torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(0)


def close_pairs(signatures: Tensor, limit: float) -> Iterator[Pairs]:
    """Every pair of rows (N, D) whose distance is at most ``limit``, in segments of any number of pairs.

    The distance is the root of half the squared Euclidean distance. It is computed for all pairs, in tiles of matrix
    products in float32; where rounding could decide, it is computed anew from differences in float64. So no pair is
    missed. Rows with NaN are in no pair.

    Yields:
        positions i < j and distances in float32, each (P,).
    """
    known = signatures.isfinite().all(1)
    signatures = torch.where(known[:, None], signatures, 0)
    half = torch.where(known, signatures.double().square().sum(1).float() / 2, torch.inf)
    columns = signatures.T.contiguous()
    starts = range(0, len(signatures), _SIDE)
    tiles = ((first, second) for first in starts for second in starts if second >= first)
    # The most by which rounding in float32 changes a value of a tile.
    slack = (signatures.shape[1] + 8) * 2.0**-24 * 2 * float(half[known].max()) if known.any() else 0.0
    bound = limit**2

    def pairs(tile: tuple[int, int]) -> Pairs:
        rows, there = (slice(start, start + _SIDE) for start in tile)
        values = torch.addmm(half[rows, None] + half[there], signatures[rows], columns[:, there], alpha=-1)
        if float(values.amin()) > bound + slack:
            return _NONE
        close = values <= bound + slack
        i, j = (close.triu_(1) if rows == there else close).nonzero(as_tuple=True)
        found = values[i, j].clamp_(min=0)
        i, j = i + tile[0], j + tile[1]
        kept = torch.ones_like(found, dtype=torch.bool)
        for some in torch.split((found > bound - slack).nonzero().squeeze(1), _CONFIRMED):
            differences = signatures[i[some]].double() - signatures[j[some]].double()
            exact = differences.square().sum(1) / 2
            kept[some], found[some] = exact <= bound, exact.float()
        return i[kept], j[kept], found[kept].sqrt()

    with full_precision(signatures.device), single_threaded_workers(torch.get_num_threads()) as pool:
        while batch := list(islice(tiles, _AT_ONCE)):
            yield from (found for found in pool.map(pairs, batch) if len(found[0]))


class Components:
    """Connected components of a graph whose edges come in segments."""

    def __init__(self, nodes: int) -> None:
        self._of = np.arange(nodes)
        self._edges: list[tuple[Positions, Positions]] = []

    def connect(self, i: Positions, j: Positions) -> None:
        """Add edges between the nodes ``i`` and ``j``, each (P,)."""
        self._edges.append((i, j))
        if sum(len(first) for first, _ in self._edges) > _EDGES:
            self.found()

    def found(self) -> Positions:
        """The component (N,) of each node."""
        if self._edges:
            ends = [self._of[np.concatenate(side)] for side in zip(*self._edges, strict=True)]
            size = len(self._of)
            graph = coo_array((np.ones(len(ends[0]), dtype=bool), tuple(ends)), shape=(size, size))
            self._of = connected_components(graph, directed=False)[1][self._of].astype(np.int64)
            self._edges = []
        return self._of


def groups(keys: Positions) -> list[list[int]]:
    """Positions of equal keys (N,), ascending; those that occur once are left out."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order])) + 1
    return sorted(part.tolist() for part in np.split(order, starts) if len(part) > 1)
