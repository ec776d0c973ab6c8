"""Sizes of chunks of rows of a (B, R) matrix, chosen so that temporaries stay small."""

import math
from functools import cache

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.objectives.host import awaited

# On a CPU a chunk fits into the cache; elsewhere it is large enough to hide the cost of kernel launches.
_CHUNK_ELEMENTS_CPU = 1 << 16
_CHUNK_ELEMENTS = 1 << 24
# Number of temporaries of a chunk that are alive at the same time.
_BUFFERS = 5
# Rows that make a matrix product of them with all references as fast, for each row, as one of many more.
_BLOCK_ROWS = 128
# Elements that such a matrix may have on a CPU where references are few.
_BLOCK_ELEMENTS_CPU = 1 << 18
# Number of matrices of a block (values, masks, slopes, and what a rule makes of them) that are alive at the same time.
_BLOCK_BUFFERS = 8


@cache
def keep_freed_blocks() -> None:
    """Lets the C library keep what a block of anchors has freed, for the next block.

    glibc gives memory above a threshold back to the system, which hands it out again page by page, at twice the cost of
    the arithmetic. It raises the threshold to the size of whatever such memory is freed, so freeing some that was never
    touched is enough. Other libraries lose nothing by it.
    """
    torch.empty(24 * 2**20, dtype=torch.uint8)


def block_rows(columns: int, device: torch.device, itemsize: int, memory_mb: float | None = None) -> int:
    """Rows of a block that is judged at once.

    Args:
        columns: R.
        device: where the block is.
        itemsize: bytes of an element.
        memory_mb: bound on the matrices of a block, in MiB; None for what suits the device.

    Raises:
        InputError: the budget does not hold a single row.
    """
    elements = _BLOCK_ELEMENTS_CPU if device.type == "cpu" else _CHUNK_ELEMENTS
    suited = max(_BLOCK_ROWS, elements // max(1, columns))
    if memory_mb is None:
        return suited
    row = max(1, columns) * itemsize * _BLOCK_BUFFERS
    if memory_mb * 2**20 < row:
        raise InputError(
            f"loss_memory_mb={memory_mb:g} does not hold one sample with its {columns} references: set it to at least "
            f"{math.ceil(row / 2**20 * 1000) / 1000:g}"
        )
    return min(suited, int(memory_mb * 2**20 // row))


def chunk_elements(matrix: Tensor, memory_mb: float | None = None) -> int:
    """Elements of one temporary: the device's best size, at most ``memory_mb`` (2**20 bytes) for all temporaries."""
    suited = _CHUNK_ELEMENTS_CPU if matrix.device.type == "cpu" else _CHUNK_ELEMENTS
    if memory_mb is None:
        return suited
    return min(suited, int(memory_mb * 2**20 / (matrix.element_size() * _BUFFERS)))


def chunk_rows(matrix: Tensor) -> int:
    """Rows of (B, R) in one chunk, at least 1."""
    return max(1, chunk_elements(matrix) // max(1, matrix.shape[1]))


def count_rows(mask: Tensor) -> Tensor:
    """(B, R) bool -> (B,) int64: the number of True entries in each row.

    torch sums bool through a copy in a wider type; in chunks this copy stays in the cache of a CPU.
    """
    step = chunk_rows(mask)
    chunks = [mask] if len(mask) <= step else torch.split(mask, step)
    return torch.cat([rows.sum(1, dtype=torch.int32) for rows in chunks]).long()


def most_positives(positive: Tensor) -> int:
    """The largest number of positives of any anchor, at least 1, from a mask (r, R) of bool; the host waits for it.

    Once in a block of anchors, of which a batch of up to 4,096 with as many references is one on a GPU: all columns
    instead would multiply the work of the block, which no wait comes near. In a compiled graph, which cannot wait, it
    is the number of columns.
    """
    if torch.compiler.is_compiling() or not positive.numel():
        return max(1, positive.shape[1])
    return max(1, awaited(count_rows(positive).max()))
