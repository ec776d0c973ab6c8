"""Embeddings on the way: parts of a long job in sealed files, from which the same command goes on."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from metriscope import tensor_files
from metriscope.errors import InputError
from metriscope.files import drafts, folder_in
from metriscope.reading import kind_of
from metriscope.serving.images import Listed

_FORMAT = 1
_LOCK = ".lock"
_NAME = re.compile(r"\d{9}-\d{9}\.part")


class Part(NamedTuple):
    """Embeddings of the items from ``start`` to before ``stop``.

    Attributes:
        start, stop: positions in the list of items.
        kept: (n,) int64, positions of the items that could be read.
        embeddings: (n, D) float32.
        errors: the reason for each item that could not be read.
    """

    start: int
    stop: int
    kept: Tensor
    embeddings: Tensor
    errors: list[str]


def header(model: str, precision: str, given: Listed) -> dict[str, Any]:
    """What determines embeddings: the model's digest, the precision, and the list of files.

    The files enter by a digest of their paths, sizes and times of change; one that is gone, by its path.
    """
    found = hashlib.sha256(os.fsencode(os.path.abspath(given.root)))
    for path in given.paths or ():
        try:
            about = os.stat(os.path.join(given.root, path))
        except OSError:
            found.update(os.fsencode(path) + b"\0\n")
            continue
        found.update(os.fsencode(path) + f"\0{about.st_size} {about.st_mtime_ns}\n".encode())
    return {"format": _FORMAT, "model": model, "precision": precision, "files": found.hexdigest()}


class Parts:
    """The parts of one job in a folder beside its output.

    As a context, they are those of one process: another one is refused. What holds no part is deleted at the end.

    Args:
        output: the file that the job writes; its folder has to be there.
        known: of :func:`header`; parts of another header are not used.
        size: D.
    """

    def __init__(self, output: Path, known: Mapping[str, Any], size: int) -> None:
        self.output = output
        self.folder = output.with_name(f"{output.name}.part")
        self.known = dict(known)
        self.size = size
        self._lock = FileLock(self.folder / _LOCK, timeout=0)

    def __enter__(self) -> "Parts":
        """Make the folder and lock it.

        Raises:
            InputError: another process has it.
            OSError: the folder cannot be made, or a link is in its place.
        """
        while not self._lock.is_locked:
            folder_in(self.output.parent, self.folder.name)
            try:
                self._lock.acquire()
            except Timeout:
                raise InputError(
                    f"{self.output} is being made by another process: wait for it, or choose another name"
                ) from None
            except FileNotFoundError:
                # The process that had it has deleted the folder in between.
                continue
            if not (self.folder / _LOCK).exists():
                self._lock.release()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            (self.folder / _LOCK).unlink()
        self._lock.release()
        with suppress(OSError):
            self.folder.rmdir()

    def save(self, part: Part) -> None:
        """Write a part, sealed.

        Raises:
            OSError: it cannot be written.
        """
        content = {"header": self.known, **part._asdict()}
        tensor_files.save(content, self.folder / f"{part.start:09}-{part.stop:09}.part")

    def found(self, total: int) -> list[Part]:
        """The parts that are there, whole, of the same header, and do not overlap, in order.

        Args:
            total: number of items.
        """
        found: list[Part] = []
        for path in self._files():
            part = self._read(path)
            if part is not None and (found[-1].stop if found else 0) <= part.start < part.stop <= total:
                found.append(part)
        return found

    def delete(self) -> None:
        """Delete the parts."""
        for path in (*self._files(), *drafts(self.folder)):
            with suppress(OSError):
                path.unlink()

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def _read(self, path: Path) -> Part | None:
        try:
            content = tensor_files.load(path) if kind_of(path) is None else None
            if not isinstance(content, dict) or content.pop("header", None) != self.known:
                return None
            part = Part(**content)
            places = torch.arange(part.start, part.stop)
            whole = len(part.kept) + len(part.errors) == len(places) and bool(torch.isin(part.kept, places).all())
            shape = (len(part.kept), self.size)
            return part if whole and part.embeddings.shape == shape else None
        except (OSError, TypeError, AttributeError, tensor_files.Damaged, tensor_files.Unsafe):
            return None


def gaps(parts: Sequence[Part], total: int) -> list[tuple[int, int]]:
    """The stretches (start, stop) of ``total`` items that no part covers."""
    starts, stops = [part.start for part in parts], [part.stop for part in parts]
    ends = zip([0, *stops], [*starts, total], strict=True)
    return [(start, stop) for start, stop in ends if start < stop]
