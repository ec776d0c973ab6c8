"""Reading the test embeddings that a run saved in ``embeddings.npz``. Imports no torch."""

import math
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metriscope.errors import InputError
from metriscope.reading import opened

# 60,000 samples in 512 dimensions have half of this.
_BYTES = 2**28
_NAMES = ("embeddings", "labels", "classes")


class Saved(NamedTuple):
    """Embeddings (N, D), labels (N,), the names of the classes by label, the image files (N,), and the modalities (N,).

    Files are relative to the common folder of the data; None where there are none, or an earlier version saved them.
    Modalities are 0 or 1; None where there is one.
    """

    embeddings: NDArray[Any]
    labels: NDArray[Any]
    classes: list[str]
    paths: list[str] | None = None
    side: NDArray[Any] | None = None


def read_embeddings(folder: Path) -> Saved | None:
    """The embeddings of a run folder; None where none were saved.

    Raises:
        InputError: the file is none, too large, or holds something else.
    """
    path = folder / "embeddings.npz"
    if not os.path.lexists(path):
        return None
    try:
        with opened(path, _BYTES) as file, zipfile.ZipFile(file) as archive:
            there = [name for name in ("paths", "side") if f"{name}.npy" in archive.namelist()]
            return _checked(**{name: _array(archive, f"{name}.npy") for name in (*_NAMES, *there)})
    except (OSError, ValueError, LookupError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        line = " ".join(str(error).split())[:160]
        raise InputError(f"{path} is not readable ({line}): delete it") from error


def _array(archive: zipfile.ZipFile, name: str) -> NDArray[Any]:
    """An array whose header claims no more than the limit, and no objects."""
    found = archive.getinfo(name)
    if found.file_size > _BYTES:
        raise ValueError(f"{name} has {found.file_size:,} bytes, and {_BYTES:,} are the limit")
    with archive.open(found) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{name} has the format {version}")
        shape, in_columns, kind = np.lib.format.read_array_header_1_0(file)
        if kind.hasobject or math.prod(shape) * kind.itemsize > found.file_size:
            raise ValueError(f"{name} holds objects, or less than it says")
        content = file.read(math.prod(shape) * kind.itemsize)
    return np.frombuffer(content, kind).reshape(shape, order="F" if in_columns else "C")


def _checked(
    embeddings: NDArray[Any],
    labels: NDArray[Any],
    classes: NDArray[Any],
    paths: NDArray[Any] | None = None,
    side: NDArray[Any] | None = None,
) -> Saved:
    if embeddings.dtype.kind != "f" or labels.dtype.kind not in "iu" or classes.dtype.kind != "U":
        raise ValueError("other types than numbers, labels and names")
    if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1] or classes.ndim != 1:
        raise ValueError("the shapes do not fit each other")
    if labels.size and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ValueError("a label has no class")
    if paths is not None and (paths.dtype.kind != "U" or paths.shape != labels.shape):
        raise ValueError("the paths do not fit the labels")
    if side is not None and (
        side.dtype.kind not in "iu" or side.shape != labels.shape or not np.isin(side, (0, 1)).all()
    ):
        raise ValueError("the sides do not fit the labels")
    return Saved(embeddings, labels, classes.tolist(), None if paths is None else paths.tolist(), side)
