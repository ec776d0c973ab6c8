"""Threads that each compute whole blocks, instead of sharing every operation."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


@contextmanager
def single_threaded_workers(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads in which torch computes single-threaded."""
    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)  # torch keeps part of this setting per process


def of_blocks(blocks: Sequence[Tensor], function: Callable[[Tensor], T]) -> list[T]:
    """What a function gives for each block: on a CPU in threads, as an operation on a small block is not worth two."""
    if len(blocks) < 2 or blocks[0].device.type != "cpu":
        return [function(block) for block in blocks]
    with single_threaded_workers(torch.get_num_threads()) as pool:
        return list(pool.map(function, blocks))
