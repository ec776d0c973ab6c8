"""Run folders as a sweep leaves them, written without training."""

import json
import os
import socket

from filelock import FileLock

from metriscope.run.locks import lock_of
from metriscope.run.record import FORMAT


def leave(folder, status="finished", **further):
    """A run folder with this record."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "status": status,
        "reason": None,
        "format": FORMAT,
        "seconds": 12.0,
        "started": "2026-01-01T10:00:00+00:00",
        "running_since": "2026-01-01T10:00:00+00:00",
        "ended": None if status == "running" else "2026-01-01T10:00:12+00:00",
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
    (folder / "run.json").write_text(json.dumps(record | further))
    return folder


def held(folder):
    """A lock as a process at work holds it; released by its own ``release()``."""
    lock_of(folder).parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_of(folder))
    lock.acquire()
    return lock
