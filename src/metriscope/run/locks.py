"""Locks of run folders: where they are, and whether a process holds one. Imports no torch."""

import fcntl
import os
from pathlib import Path

LOCK_SECONDS = 0.5
"""How long to wait for a lock, since a call of :func:`is_held` in another process holds it for a moment."""


def lock_of(folder: Path) -> Path:
    """The lock file of a run folder; the system releases the lock whenever the process that holds it ends."""
    return folder.parents[2] / ".locks" / f"{folder.name}.lock"


def is_held(lock_file: Path) -> bool:
    """Whether a process holds this lock now; True where that cannot be told."""
    if not lock_file.exists():
        return False
    try:
        # Only for reading: taking a lock as its owner does would create or empty the file.
        file = os.open(lock_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False
