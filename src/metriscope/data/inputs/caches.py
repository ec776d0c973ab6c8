"""Cache of arrays on disk: one array per file, shared by all runs, written as a whole or not at all."""

import errno
import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor

from metriscope.errors import InputError

log = logging.getLogger(__name__)

# The array lies at the start of the file, so that it can be mapped as a tensor; its description follows, and
# these bytes end the file: a file without them is incomplete.
_END = b"metriscope cache 1\n"
_LENGTH = 8


def digest(facts: Any) -> str:
    """Name of a cached array: a hash of plain values that determine its content."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def digest_of_tensor(tensor: Tensor) -> str:
    """A hash of shape, dtype and every byte."""
    found = hashlib.sha256(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
    if tensor.numel():
        found.update(_bytes(tensor))
    return found.hexdigest()[:32]


def digest_of_files(paths: Iterable[str], boxes: Iterable[Sequence[int] | None] | None = None) -> str:
    """A hash of the paths, sizes and modification times (in nanoseconds) of files, and of a box in each.

    Args:
        paths: the files.
        boxes: for each file the numbers of its box; None for a whole file, or for all.

    Raises:
        InputError: a file is missing.
    """
    facts = []
    for path, box in zip_longest(paths, boxes or ()):
        try:
            found = os.stat(path)
        except OSError as error:
            raise InputError(f"cannot read the image {path}: {error.strerror}") from error
        facts.append((os.path.abspath(path), found.st_size, found.st_mtime_ns, *(box or ())))
    return digest(facts)


class Draft:
    """An array file being written; rows may be written in any order and from several threads."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self.row_bytes = torch.Size(shape[1:]).numel() * dtype.itemsize
        self.bytes = shape[0] * self.row_bytes
        self.stretches: list[tuple[int, int, int]] = []
        self._about = {"shape": shape, "dtype": str(dtype).removeprefix("torch.")}
        free = shutil.disk_usage(path.parent).free
        if self.bytes > free:
            raise OSError(errno.ENOSPC, f"{self.bytes / 2**20:,.0f} MiB needed, {free / 2**20:,.0f} MiB free")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)

    def write(self, start: int, rows: Tensor) -> None:
        """Writes rows of the array from position ``start`` on."""
        content = _bytes(rows)
        _write(self._file, content, start * self.row_bytes)
        self.stretches.append((start * self.row_bytes, len(content), zlib.crc32(content)))

    def finish(self, extra: Any) -> None:
        """Writes the end of the file and syncs it to disk."""
        about = json.dumps({**self._about, "stretches": sorted(self.stretches), "extra": extra}).encode()
        _write(self._file, about + len(about).to_bytes(_LENGTH, "little") + _END, self.bytes)
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)


@dataclass(frozen=True)
class ArrayFile:
    """A cached array in a file named by a hash of the facts that determine it.

    Attributes:
        folder: folder of the cache.
        facts: plain values that determine the content; their :func:`digest` is the file name.
        remedy: advice for the error message if the folder cannot be written.
    """

    folder: Path
    facts: Mapping[str, Any]
    remedy: str

    @property
    def path(self) -> Path:
        return self.folder / f"{digest(self.facts)}.array"

    def open(self) -> tuple[Tensor, Any] | None:
        """The array, mapped from the file, and its extra values; None if the file is missing or damaged.

        Every byte is read once and checked against the checksums, with a thread per core.
        """
        try:
            about = _read_about(self.path)
            dtype = getattr(torch, about["dtype"])
            count = torch.Size(about["shape"]).numel()
            # shared=False keeps a write to the tensor out of the file.
            flat = torch.from_file(str(self.path), shared=False, size=count, dtype=dtype)
            _verify(_bytes(flat), about["stretches"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            log.warning("%s is damaged and is made anew: %s", self.path, error)
            return None
        return flat.view(about["shape"]), about["extra"]

    def get(
        self, what: str, shape: tuple[int, ...], dtype: torch.dtype, fill: Callable[[Draft], Any]
    ) -> tuple[Tensor, Any]:
        """The array and its extra values, from the file if it exists; otherwise ``fill`` computes them.

        If several processes need the file at the same time, one of them writes it.

        Args:
            what: name of the content, for the log.
            shape, dtype: shape and dtype of the array.
            fill: function that writes every row and returns the extra values, as plain values.

        Raises:
            InputError: the folder cannot be written, for example because the disk is full.
        """
        found = self.open()
        if found is not None:
            log.info("%s: %s", what, self.path)
            return found
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock")):
                found = self.open()  # another process may have written it
                if found is None:
                    log.info("%s, once: %s (%s MiB)", what, self.path, _mib(shape, dtype))
                    self._build(shape, dtype, fill)
                    found = self.open()
        except OSError as error:
            raise InputError(f"cannot write the cache {self.path}: {error.strerror or error}; {self.remedy}") from error
        if found is None:
            raise InputError(f"{self.path} was written and reads back damaged: is the disk sound? {self.remedy}")
        return found

    def _build(self, shape: tuple[int, ...], dtype: torch.dtype, fill: Callable[[Draft], Any]) -> None:
        # The lock excludes other writers, so a part left by a killed process can be overwritten.
        part = self.path.with_suffix(".part")
        try:
            draft = Draft(part, shape, dtype)
            try:
                draft.finish(fill(draft))
            finally:
                draft.close()
            os.replace(part, self.path)
        finally:
            part.unlink(missing_ok=True)


def _bytes(tensor: Tensor) -> memoryview:
    array: Any = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
    return memoryview(array)


def _write(file: int, content: bytes | memoryview, offset: int) -> None:
    rest = memoryview(content)
    while rest:
        written = os.pwrite(file, rest, offset)
        rest, offset = rest[written:], offset + written


def _read_about(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _LENGTH - len(_END)))
        length, end = file.read(_LENGTH), file.read()
        start = size - _LENGTH - len(_END) - int.from_bytes(length, "little")
        if end != _END or start < 0:
            raise ValueError("its end is missing")
        file.seek(start)
        about: dict[str, Any] = json.loads(file.read(int.from_bytes(length, "little")))
    expected = torch.Size(about["shape"]).numel() * getattr(torch, about["dtype"]).itemsize
    if start != expected:
        raise ValueError(f"{expected} bytes expected, {start} found")
    return about


def _verify(content: memoryview, stretches: list[tuple[int, int, int]]) -> None:
    place = 0
    for start, length, _ in stretches:
        if start != place:
            raise ValueError(f"nothing was written at byte {place}")
        place += length
    if place != len(content):
        raise ValueError(f"nothing was written at byte {place}")

    def differs(stretch: tuple[int, int, int]) -> bool:
        start, length, checksum = stretch
        return zlib.crc32(content[start : start + length]) != checksum

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for stretch, wrong in zip(stretches, pool.map(differs, stretches), strict=True):
            if wrong:
                raise ValueError(f"the {stretch[1]} bytes from byte {stretch[0]} on are not those that were written")


def _mib(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return f"{torch.Size(shape).numel() * dtype.itemsize / 2**20:,.0f}"
