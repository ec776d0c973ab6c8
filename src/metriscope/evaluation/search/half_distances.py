"""Half the squared distance between the rows of two sets, |q|^2/2 + |g|^2/2 - q.g in float32, clipped at zero.

On a CPU every thread computes whole blocks, padded to multiples of ``PAD`` rows and columns: a value then depends
neither on the block in which it is computed nor on the number of threads (verified for MKL). The norms are added first
and the product is subtracted from their sum, so that exchanging q and g changes no bit either.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.errors import RunError

PAD = 16  # smaller blocks use BLAS kernels with a different summation order, which changes the last bits


class Points(NamedTuple):
    """A set of points, possibly followed by padding that lies infinitely far away."""

    rows: Tensor
    """(N, D) float32."""
    half: Tensor
    """(N, 1) float32, half the squared norms."""

    def take(self, index: Tensor | slice) -> "Points":
        """The points at these positions."""
        return Points(self.rows[index], self.half[index])


def points(embeddings: Tensor, name: str) -> Points:
    """Points of (N, D) embeddings.

    Raises:
        RunError: naming ``name``, for embeddings that are not finite or too large to be squared in float32.
    """
    rows = embeddings.detach().float()
    half = torch.cat([block.double().square().sum(1, keepdim=True).float() / 2 for block in torch.split(rows, 8192)])
    bad = int((~half.isfinite()).sum())
    if bad:
        raise RunError(f"{bad} of {len(half)} {name} embeddings are not finite or too large for float32")
    return Points(rows, half)


def padded(these: Points, multiple: int) -> Points:
    """The points with padding to a multiple of ``multiple`` rows, and at least ``multiple`` rows."""
    missing = round_up(max(len(these.rows), 1), multiple) - len(these.rows)
    if missing == 0:
        return Points(these.rows.contiguous(), these.half)
    rows = torch.cat([these.rows, these.rows.new_zeros(missing, these.rows.shape[1])])
    return Points(rows, torch.cat([these.half, these.half.new_full((missing, 1), torch.inf)]))


def half_distances(left: Points, right: Points, out: Tensor) -> Tensor:
    """(a, b) distances of a and b points, written to ``out``."""
    torch.add(left.half, right.half.T, out=out)
    return out.addmm_(left.rows, right.rows.T, alpha=-1).clamp_(min=0)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Disables TF32 and bfloat16 in products of float32 matrices, whatever the training uses."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def single_threaded_workers(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads in which torch computes single-threaded."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)  # torch keeps part of this setting per process


def round_up(value: int, multiple: int) -> int:
    """The smallest multiple of ``multiple`` that is at least ``value``."""
    return -(-value // multiple) * multiple
