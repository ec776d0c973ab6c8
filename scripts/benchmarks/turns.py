"""Processes with the code of two checkouts that work in turns, and the median ratio of their times."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import comb
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import IO, Any, NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parents[2]
_CHANNEL = "METRISCOPE_BENCHMARK_CHANNEL"


def channel() -> Connection:
    """The way from a process that :func:`started` has started to the one that started it."""
    return Connection(int(os.environ[_CHANNEL]))


class Side:
    """A process that computes when it is asked to and waits otherwise."""

    def __init__(self, connection: Connection, log: IO[str]) -> None:
        self.connection = connection
        self.log = log

    def ask(self, *request: Any) -> Any:
        """The answer to a request."""
        try:
            self.connection.send(request)
        except OSError:
            self._ended()
        return self.answer()

    def answer(self) -> Any:
        """What the process sends next.

        Raises:
            SystemExit: it has ended, with what it printed.
        """
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self._ended()

    def _ended(self) -> NoReturn:
        self.log.seek(0)
        sys.exit(f"benchmark: a process ended early; it printed:\n{self.log.read()}")


@contextmanager
def started(root: Path, command: Sequence[str]) -> Iterator[Side]:
    """A Python process with the package of the checkout ``root`` and the scripts of this one.

    Args:
        command: words after ``python``; relative paths start from ``root``.
    """
    connection, other_end = Pipe()
    paths = [str(root / "src"), str(ROOT / "scripts")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), _CHANNEL: str(other_end.fileno())}
    with connection, tempfile.TemporaryFile("w+") as log:
        with other_end:
            process = subprocess.Popen(
                [sys.executable, *command],
                cwd=root,
                env=environment,
                stdout=log,
                stderr=log,
                pass_fds=[other_end.fileno()],
            )
        try:
            yield Side(connection, log)
        finally:
            # A run that is asked to terminate would first save its state.
            process.kill()
            process.wait()


def in_turns(here: Callable[[], float], there: Callable[[], float], pairs: int) -> list[tuple[float, float]]:
    """Seconds of both sides, pair by pair; each side begins every other pair."""
    turns = []
    for number in range(pairs):
        if number % 2:
            theirs = there()
            turns.append((here(), theirs))
        else:
            turns.append((here(), there()))
    return turns


class Median(NamedTuple):
    """A median, and the interval that holds it with a chance of at least 95 % if there are six values or more."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Median":
        ordered = sorted(values)
        low, high = median_interval(len(ordered))
        return cls(median(ordered), ordered[low], ordered[high])


def median_interval(count: int) -> tuple[int, int]:
    """Positions, among as many sorted values, between which their median lies with a chance of at least 95 %."""
    low = 0
    while 2 * sum(comb(count, k) for k in range(low + 2)) / 2**count <= 0.05:
        low += 1
    return low, count - 1 - low
