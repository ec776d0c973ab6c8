"""One side of a comparison of losses: a process that computes with the package on its path what it is asked for."""

import random
import time

import numpy as np
import torch

from benchmarks.comparing import batch, built, step, value_of
from benchmarks.contests import LossOfBatch
from benchmarks.measuring import threads, use_threads
from benchmarks.turns import channel

WAKING = 0.02
"""Seconds before each turn that are not timed."""

Arrays = tuple[np.ndarray, np.ndarray]


class Case:
    """A loss, by words of the command line, on a batch of this size and layout."""

    def __init__(self, words: tuple[str, ...], size: int, layout: str) -> None:
        self.batch = size, layout
        self.raw, self.labels = batch(size, layout)
        self.loss: LossOfBatch = value_of(built(words, int(self.labels.max()) + 1))

    def result(self, dtype: torch.dtype) -> Arrays:
        """Value and gradient (B, D), as arrays: a tensor would be sent as shared memory."""
        value, gradient = step(self.loss, *batch(*self.batch, dtype))
        return value.numpy(), gradient.numpy()

    def seconds(self, repeats: int) -> float:
        """Time of as many steps."""
        _wake()
        # The places that memory happens to have can cost a side tenths of its time: each turn has others.
        self.padding = [torch.empty(random.randrange(2**10, 2**19)) for _ in range(random.randrange(16))]
        before = time.perf_counter()
        for _ in range(repeats):
            step(self.loss, self.raw, self.labels)
        return time.perf_counter() - before


def _wake() -> None:
    """Keeps all threads busy for a moment: after a rest they begin on the same core, and run apart only later."""
    numbers, until = torch.ones(2**18), time.perf_counter() + WAKING
    while time.perf_counter() < until:
        numbers.exp()


def main() -> None:
    """Answer requests: ``case`` with its arguments, or the name of a method of the present case with its own."""
    use_threads(threads())
    connection = channel()
    while True:
        name, *arguments = connection.recv()
        if name == "case":
            case = Case(*arguments)
            connection.send(None)
        else:
            connection.send(getattr(case, name)(*arguments))


if __name__ == "__main__":
    main()
