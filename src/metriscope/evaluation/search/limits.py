"""The k nearest columns of rows where k is large: those within a limit that a sample of the columns suggests.

To partition a whole row costs more than its distances. A limit that k columns, and few more, do not exceed lets one
comparison per column choose what is ranked. A limit that turns out too low costs time and changes no result: its row is
ranked as a whole.
"""

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metriscope.evaluation.search.ranking import pack, smallest
from metriscope.evaluation.search.tiles import NOTHING

STEP = 8  # every eighth column is in the sample
DEVIATIONS = 3  # by which the limit of the sample lies above the k-th column: about one row in 700 falls short
SHARE = 4  # k up to this part of the columns; above it a limit leaves too little out


def below_limits(distances: Tensor, first: int, k: int, keys: Tensor) -> Tensor:
    """The keys (b, k) of the nearest columns, ascending.

    Args:
        distances: (b, c), on the CPU, with k < c.
        first: position of the first column in the gallery; the others follow.
        k: how many.
        keys: (b, c) int64, overwritten.
    """
    array = distances.numpy()
    b, width = array.shape
    limits = _limits(array, k)
    found = np.flatnonzero(array <= limits[:, None])
    ends = np.searchsorted(found, np.arange(1, b + 1) * width)
    counts = np.diff(ends, prepend=0)
    rows = np.repeat(np.arange(b), counts)
    most = max(int(counts.max()), k)
    table = keys.view(-1)[: b * most].view(b, most)
    table.fill_(NOTHING)
    values = array.reshape(-1)[found].view(np.int32).astype(np.int64)
    places = np.arange(len(found)) + (np.arange(b) * most - (ends - counts))[rows]
    table.numpy().reshape(-1)[places] = (values << 32) | (found - rows * width + first)
    short = np.flatnonzero(counts < k)
    best = smallest(table, k)
    if len(short):
        some = distances[short]
        columns = first + np.arange(width)
        best[short] = smallest(pack(some, distances.new_tensor(columns).long(), keys.new_empty(some.shape)), k)
    return best


def _limits(array: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """A limit (b,) for each row."""
    sample = array[:, ::STEP].copy()
    share = k / STEP
    place = min(math.ceil(share + DEVIATIONS * math.sqrt(share)), sample.shape[1] - 1)
    sample.partition(place, axis=1)
    limits: NDArray[np.float32] = sample[:, place]
    return limits
