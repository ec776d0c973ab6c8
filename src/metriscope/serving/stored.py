"""Models in folders: of a run, or exported."""

import hashlib
import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from metriscope.build.trained import Trained, Which, read_trained
from metriscope.errors import InputError
from metriscope.reading import parse_json, read_bytes
from metriscope.serving.description import Description

TENSORS, CONFIG, CARD, GRAPH = "model.safetensors", "config.json", "README.md", "model.onnx"
FILES = (TENSORS, CONFIG, CARD, GRAPH)
"""What an export may write."""

_CONFIG_BYTES = 2**20
_TENSOR_BYTES = 2**34


class Stored(NamedTuple):
    """A model as it is stored.

    Attributes:
        described: what it is.
        state: the tensors of its network by name.
    """

    described: Description
    state: Mapping[str, Tensor]


def stored(folder: Path, which: Which | None = None) -> Stored:
    """The model in a folder.

    Args:
        folder: of a run, or of an exported model.
        which: the checkpoint of a run; None for the one that was tested.

    Raises:
        InputError: the folder holds no model, the run is not finished, or a file is damaged.
    """
    if which not in (None, "best", "last"):
        raise InputError(f"checkpoint={which}: choose best or last")
    if not is_exported(folder):
        return of_run(read_trained(folder, which))
    if which is not None:
        raise InputError(f"{folder} is an exported model, which has no checkpoints: leave out checkpoint={which}")
    return read_exported(folder)


def of_run(run: Trained) -> Stored:
    """The model of a run; raises as :meth:`Description.of_run`."""
    try:
        return Stored(Description.of_run(run), run.network())
    except KeyError as error:
        raise InputError(f"{run.folder / 'config.yaml'} lacks {error}: it is no whole config of a run") from error


def is_exported(folder: Path) -> bool:
    """Whether a folder holds what an export writes, and no run."""
    if os.path.lexists(folder / "run.json"):
        return False
    return os.path.lexists(folder / CONFIG) or os.path.lexists(folder / TENSORS)


def read_exported(folder: Path) -> Stored:
    """An exported model, whose tensors and description are those that were written.

    Raises:
        InputError: a file is missing, a link, damaged, or of a later version.
    """
    described, written = read_description(folder)
    state = _tensors(folder / TENSORS, written.tensors)
    if described.digest(state) != written.digest:
        raise InputError(f"{folder} is damaged: {TENSORS} and {CONFIG} are not what was written together; {_AGAIN}")
    return Stored(described, state)


_AGAIN = "export the run again, or copy the whole folder again"


class Digests(NamedTuple):
    """SHA-256 of what an export has written, in hexadecimal.

    Attributes:
        digest: of the model, as of :meth:`Description.digest`.
        tensors: of the bytes of the file of tensors.
    """

    digest: str
    tensors: str


def read_description(folder: Path) -> tuple[Description, Digests]:
    """What an exported model is, and its digests, which are not compared with its tensors.

    Raises:
        InputError: the file is missing, a link, no config of an exported model, or of a later version.
    """
    path = folder / CONFIG
    text = _read(path, _CONFIG_BYTES)
    try:
        content = parse_json(text)
        found = [content.get(key) for key in Digests._fields] if isinstance(content, dict) else [None]
        if not all(isinstance(digest, str) for digest in found):
            raise ValueError("the digests of a model are not in it")
    except ValueError as error:
        raise InputError(f"{path} is no config of an exported model ({error}): {_AGAIN}") from error
    try:
        return Description.of(content), Digests(*found)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _tensors(path: Path, digest: str) -> Mapping[str, Tensor]:
    reader = safetensors(path)
    content = _read(path, _TENSOR_BYTES)
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(f"{path} is damaged: its bytes are not those that were written; {_AGAIN}")
    try:
        found: Mapping[str, Tensor] = reader.load(content)
    except Exception as error:  # the digest may be of any file
        raise InputError(f"{path} is no file of tensors: {_AGAIN}") from error
    return found


def _read(path: Path, limit: int) -> bytes:
    try:
        return read_bytes(path, limit)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: {_AGAIN}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not read: {error}") from error


def safetensors(path: Path) -> Any:
    """The module that reads and writes tensors; imported by name, so that type checks agree without this package.

    Raises:
        InputError: it is not installed.
    """
    try:
        return import_module("safetensors.torch")
    except ImportError as error:
        raise InputError(f"{path} needs a package: pip install safetensors, or the extra metriscope[export]") from error
