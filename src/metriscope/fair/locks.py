"""Locks of a study that several processes work on, of one machine or of a shared file system. Imports no torch.

The system releases a lock whenever the process that holds it ends.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock

TURN_SECONDS = 2.0
"""How long a process waits before it looks again whether others have left it something to do."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The study's own files and its report, for one process at a time; held for moments."""
    with FileLock(folder / ".fair.lock"):
        yield


def lock_of_entry(folder: Path, number: int) -> BaseFileLock:
    """The lock of an entry, which the process that runs its next trial holds."""
    return FileLock(folder / f".fair.{number}.lock")
