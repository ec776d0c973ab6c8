"""The run that ``init`` names, from whose weights another run begins. Imports no torch."""

import os
from pathlib import Path
from typing import NamedTuple

from metriscope.errors import InputError
from metriscope.run.record import FINISHED, Record, Unreadable, read_record, read_summary

_WANTED = "give the folder of a run, <study>/<data>/<loss>/seed<k>-<hash>"


class Source(NamedTuple):
    """A run to begin from.

    Attributes:
        folder: of the run.
        checkpoint: the best one where validation has selected one, else the last.
        record: of the run.
    """

    folder: Path
    checkpoint: Path
    record: Record


def source_of(folder: Path, own: Path) -> Source:
    """The run in a folder, and the checkpoint that another run begins from.

    Args:
        folder: the value of ``init``.
        own: the folder of the run that begins.

    Raises:
        InputError: there is no such run, it has no checkpoint, a later version wrote it, or it is the run itself.
    """
    key = f"init={folder}"
    if not os.path.lexists(folder):
        raise InputError(f"{key}: no such folder; {_WANTED}")
    if not folder.is_dir():
        raise InputError(f"{key} is a file: {_WANTED}")
    if folder.resolve() == own.resolve():
        raise InputError(f"{key} is the folder of this very run: give that of another, or set init=null")
    try:
        record = read_record(folder)
        if record is None:
            raise InputError(f"{key} is no run, it has no run.json: {_WANTED}")
        selects = record.status == FINISHED and "best/epoch" in read_summary(folder)
    except Unreadable as error:
        fact, _, _ = error.problem.rpartition(": ")
        raise InputError(f"{key}: its {error.path.name} {fact}; give another run") from error
    best, last = (folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    # A run that has not finished has a best checkpoint once validation has selected one.
    checkpoint = best if selects or (record.status != FINISHED and best.exists()) else last
    if not checkpoint.is_file():
        raise InputError(f"{key}: there is no checkpoints/{checkpoint.name} to begin from; give another run")
    return Source(folder, checkpoint, record)
