"""Sizes of chunks of rows of a (B, R) matrix, chosen so that temporaries stay small."""

import torch
from torch import Tensor

# On a CPU a chunk fits into the cache; elsewhere it is large enough to hide the cost of kernel launches.
_CHUNK_ELEMENTS_CPU = 1 << 16
_CHUNK_ELEMENTS = 1 << 24
# Number of temporaries of a chunk that are alive at the same time.
_BUFFERS = 5


def chunk_elements(matrix: Tensor, memory_mb: float | None = None) -> int:
    """Elements of one temporary: the device's best size, at most ``memory_mb`` (2**20 bytes) for all temporaries."""
    suited = _CHUNK_ELEMENTS_CPU if matrix.device.type == "cpu" else _CHUNK_ELEMENTS
    if memory_mb is None:
        return suited
    return min(suited, int(memory_mb * 2**20 / (matrix.element_size() * _BUFFERS)))


def chunk_rows(matrix: Tensor, memory_mb: float | None = None, per_element: int = 1) -> int:
    """Rows of (B, R) in one chunk, at least 1.

    Args:
        memory_mb: see :func:`chunk_elements`.
        per_element: elements of a temporary for each element of the matrix.
    """
    return max(1, chunk_elements(matrix, memory_mb) // max(1, per_element * matrix.shape[1]))


def count_rows(mask: Tensor) -> Tensor:
    """(B, R) bool -> (B,) int64: the number of True entries in each row.

    torch sums bool through a copy in a wider type; in chunks this copy stays in the cache of a CPU.
    """
    step = chunk_rows(mask)
    chunks = [mask] if len(mask) <= step else torch.split(mask, step)
    return torch.cat([rows.sum(1, dtype=torch.int32) for rows in chunks]).long()
