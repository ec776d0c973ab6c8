"""What may lie where a run reads and writes: files and folders of its own, no links, no pipes. Imports no torch."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from metriscope.errors import InputError
from metriscope.reading import FOLDER, kind_of

_FILES = (
    "config.yaml", "run.json", "metrics.csv", "summary.json", "embeddings.npz", "per_class.csv", "per_query.csv",
    "thresholds.csv", "spectrum.csv", "label_noise.csv", "suspects.csv", "train.log",
)  # fmt: skip
_FOLDERS = ("checkpoints", "figures", "tensorboard", "wandb")


def check_place(folder: Path, lock_file: Path) -> None:
    """Refuse a run folder below a study, or a lock, that is a link to elsewhere or no folder or file.

    Raises:
        InputError: naming it.
    """
    for place in (*reversed(folder.parents[:2]), folder, lock_file.parent):
        _check(place, FOLDER)
    _check(lock_file, None)


def check_entries(folder: Path) -> None:
    """Refuse a run folder in which a run would write through a link, or wait for a pipe.

    Raises:
        InputError: naming the entry.
    """
    for name in _FILES:
        _check(folder / name, None)
    for name in _FOLDERS:
        _check(folder / name, FOLDER)
    for path in _listed(folder / "checkpoints"):
        _check(path, None)


def _check(path: Path, wanted: str | None) -> None:
    with suppress(OSError):  # nothing is there
        found = kind_of(path)
        if found != wanted:
            what = found or "a file"
            raise InputError(f"{path} is {what}, where a run has {wanted or 'a file'}: move it away")


def _listed(folder: Path) -> Iterator[Path]:
    with suppress(OSError), os.scandir(folder) as entries:
        yield from sorted(folder / entry.name for entry in entries)
