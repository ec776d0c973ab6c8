"""What a run has lost, in one line: room on a disk, memory, a worker, or its folder. Imports no torch."""

import errno
import re
import shutil
from pathlib import Path

from metriscope.files import LinkRefused

_SHARED = Path("/dev/shm")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_OF_SHARED = re.compile(r"out of shared memory|shared memory (?:object|file)|</torch_\d|/dev/shm", re.IGNORECASE)
_OF_MEMORY = re.compile(r"out of memory|can't allocate memory|unable to allocate|cannot allocate memory", re.IGNORECASE)
_OF_WORKER = re.compile(r"DataLoader worker .*(?:exited unexpectedly|killed by signal)", re.DOTALL)
_AMOUNT = re.compile(r"(?:allocate|requested)[^0-9]{0,20}([0-9][0-9.]* ?(?:[KMGTP]i?B|bytes))")


def shortage(error: BaseException, folder: Path) -> str | None:
    """The line for an error of a run: where, how much, and which key helps; None for an error of another kind.

    Args:
        error: what the run raised.
        folder: the run folder.
    """
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        if error.filename is None and _shared_is_full():
            return _shared()
        return _room(Path(error.filename or folder), error)
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return f"cannot write to {error.filename or folder}: {error.strerror}; set paths.output_dir"
    if isinstance(error, OSError) and not folder.exists():
        return f"{folder} was taken away while the run wrote to it: run again"
    if isinstance(error, LinkRefused):
        return f"cannot write to {error.filename}: {error.strerror}; remove it"
    text = str(error)
    if isinstance(error, RuntimeError) and _OF_SHARED.search(text):
        return _shared()
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError | OSError) and _OF_MEMORY.search(text)):
        return _memory(text)
    if isinstance(error, RuntimeError) and _OF_WORKER.search(text):
        return "a process that loads data was killed: run again; if memory is short, lower dataset.num_workers"
    return None


def _room(path: Path, error: OSError) -> str:
    reason = error.strerror or "no room"
    return f"cannot write to {path}: {reason} ({_free(path.parent)}): make room, or set paths.output_dir"


def _free(folder: Path) -> str:
    there = next(place for place in (folder, *folder.parents) if place.exists())
    return f"{shutil.disk_usage(there).free / 1e6:,.1f} MB free"


def _shared() -> str:
    size = f" ({_free(_SHARED)} of {shutil.disk_usage(_SHARED).total / 1e6:,.0f} MB)" if _SHARED.exists() else ""
    return f"{_SHARED} is full{size}: set dataset.num_workers=0 or lower, or give it more room (docker: --shm-size)"


def _shared_is_full() -> bool:
    return _SHARED.exists() and shutil.disk_usage(_SHARED).free < 1e6


def _memory(text: str) -> str:
    place = "the GPU is" if "CUDA" in text or "GPU" in text else "this machine is"
    amount = _AMOUNT.search(text)
    much = f" ({amount[1]} more were asked for)" if amount else ""
    keys = "sampler.batch_size, or evaluation.batch_size if it was evaluating"
    return f"{place} out of memory{much}: lower {keys}"
