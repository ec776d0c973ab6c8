"""Watching a command over a hostile study: time, memory, and the files outside."""

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 10
BYTES = 2**30


def state(folder: Path) -> dict[str, Any]:
    """Everything that lies in a folder; of regular files their size, time and beginning."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        one = path.lstat()
        plain = path.is_file() and not path.is_symlink()
        content = path.open("rb").read(1000) if plain else b""
        found[str(path)] = (one.st_mode, one.st_size, one.st_mtime_ns, content)
    return found


@contextmanager
def limited(seconds: float = SECONDS) -> Iterator[None]:
    """Raise TimeoutError in what takes longer, also where it waits for a file."""

    def stop(*_: Any) -> None:
        raise TimeoutError(f"after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def peak() -> int:
    """The largest memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def seconds() -> float:
    """Processor time of this process, which other processes do not lengthen."""
    return time.process_time()
