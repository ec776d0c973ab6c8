"""Saved galleries: embeddings with paths and labels in one sealed file, which a search reads in place of the images."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metriscope import tensor_files
from metriscope.errors import InputError
from metriscope.files import refuse_link
from metriscope.reading import kind_of
from metriscope.serving.embedded import Embedded
from metriscope.serving.outputs import Format

FORMAT = 1
"""Counts up when a file changes in a way that earlier versions cannot read."""
# No name of a file holds it.
_END = "\0"


def save(gallery: Embedded, path: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Write a gallery atomically.

    Args:
        gallery: what is saved.
        path: the file; a link is refused.
        facts: plain values that :func:`facts_of` gives back.

    Raises:
        OSError: it cannot be written; what was there before is then unchanged.
    """
    refuse_link(path)
    # Lists of many names are slow to read where no code is run; one text is not.
    content = {
        "gallery": FORMAT,
        "model": gallery.model,
        "embeddings": gallery.embeddings,
        "paths": _joined(gallery.paths),
        "labels": _joined(gallery.labels),
        "skipped": list(gallery.skipped),
        "root": os.path.abspath(gallery.root),
        "facts": dict(facts or {}),
    }
    tensor_files.save(content, path)


def load_saved(path: Path) -> Embedded:
    """The gallery in a file, prepared for searches.

    Raises:
        InputError: there is no such file, or it is no gallery, damaged, or of a later version.
    """
    content = _read(path, mmap=False)
    try:
        embeddings = content["embeddings"]
        paths, labels = _split(content["paths"]), _split(content["labels"])
        lengths = {len(embeddings), *(len(names) for names in (paths, labels) if names is not None)}
        if not isinstance(embeddings, Tensor) or embeddings.ndim != 2 or embeddings.dtype != torch.float32:
            raise ValueError
        if len(lengths) != 1 or not isinstance(content["root"], str) or not isinstance(content["model"], str):
            raise ValueError
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(_no_gallery(path)) from error
    gallery = Embedded(
        embeddings, content["model"], paths, labels, tuple(map(str, content["skipped"])), content["root"]
    )
    # The first answer shall not wait for it.
    _ = gallery.prepared
    return gallery


def facts_of(path: Path) -> Mapping[str, Any]:
    """What :func:`save` was told beside the gallery; empty for nothing.

    Raises:
        InputError: as of :func:`load_saved`.
    """
    facts = _read(path, mmap=True).get("facts")
    return facts if isinstance(facts, dict) else {}


FILE = Format(save, facts_of)
"""A gallery as the output of a job."""


def _read(path: Path, mmap: bool) -> dict[str, Any]:
    try:
        if (kind := kind_of(path)) is not None:
            raise InputError(f"{path} is {kind}: give the file of a gallery, as metriscope index writes it")
        content = tensor_files.load(path, mmap=mmap)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file or folder") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except tensor_files.Damaged as error:
        raise InputError(f"{path} {error}: give a folder, or a file that metriscope index has made") from error
    except tensor_files.Unsafe as error:
        raise InputError(f"{path} {error}") from error
    number = content.get("gallery") if isinstance(content, dict) else None
    if not isinstance(number, int):
        raise InputError(_no_gallery(path))
    if number > FORMAT:
        raise InputError(f"{path}: a later version of Metriscope wrote it (format {number}, this one reads {FORMAT})")
    return dict(content)


def _no_gallery(path: Path) -> str:
    return f"{path} is no gallery: metriscope index writes such files"


def _joined(names: Sequence[str] | None) -> str | None:
    return None if names is None else "".join(f"{name}{_END}" for name in names)


def _split(text: Any) -> list[str] | None:
    if text is not None and not isinstance(text, str):
        raise ValueError
    return None if text is None else text.split(_END)[:-1]
