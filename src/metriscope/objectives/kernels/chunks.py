"""How many rows of a (B, R) matrix are worked on at a time: few enough that temporaries stay small."""

import torch
from torch import Tensor

# On a CPU a chunk is small enough for its cache, elsewhere large enough to hide launches.
_CHUNK_ELEMENTS_CPU = 1 << 16
_CHUNK_ELEMENTS = 1 << 24
# Temporaries of a chunk that are alive together.
_BUFFERS = 5


def chunk_elements(matrix: Tensor, memory_mb: float | None = None) -> int:
    """Elements of one temporary: what suits the device, within ``memory_mb`` (2**20 bytes) for all of them."""
    suited = _CHUNK_ELEMENTS_CPU if matrix.device.type == "cpu" else _CHUNK_ELEMENTS
    if memory_mb is None:
        return suited
    return min(suited, int(memory_mb * 2**20 / (matrix.element_size() * _BUFFERS)))


def chunk_rows(matrix: Tensor, memory_mb: float | None = None, per_element: int = 1) -> int:
    """Rows of (B, R) that one chunk takes, at least 1.

    Args:
        memory_mb: see :func:`chunk_elements`.
        per_element: elements of a temporary for each element of the matrix.
    """
    return max(1, chunk_elements(matrix, memory_mb) // max(1, per_element * matrix.shape[1]))


def count_rows(mask: Tensor) -> Tensor:
    """(B, R) bool -> (B,) int64: how many are set in each row.

    Sums of bool are sums of a copy in a wider type, which a CPU has in its cache chunk by chunk.
    """
    step = chunk_rows(mask)
    chunks = [mask] if len(mask) <= step else torch.split(mask, step)
    return torch.cat([rows.sum(1, dtype=torch.int32) for rows in chunks]).long()
