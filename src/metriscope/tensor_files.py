"""Files of tensors: written whole and sealed with a digest, and verified before anything in them is loaded.

The seal is the comment of the zip archive that torch writes: the SHA-256 of every byte before it. It stands in the
file itself, because two files cannot be replaced at once. Archives without a seal, which others wrote, have a CRC for
each of their members. The formats before torch 1.6 have no checksum at all.
"""

import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from metriscope.files import replacing, sync

_MARK = b"metriscope sha256 "
_HEX = 64
_COMMENT = len(_MARK) + _HEX
# The record that ends an archive: a signature, 16 bytes, and the length of the comment that follows.
_END, _END_SIZE = b"PK\x05\x06", 22
_FIRST = b"PK\x03\x04"


class Damaged(Exception):
    """A file is not what was written; the message follows the path in a sentence."""


class Unsafe(Exception):
    """A file holds objects other than tensors and plain values; the message follows the path in a sentence."""


def save(content: Any, path: Path, previous: Path | None = None) -> None:
    """Write tensors and plain values atomically, with a seal.

    Args:
        content: what :func:`torch.save` takes.
        path: the file.
        previous: the name under which the file so far is kept, once the new one is on disk.

    Raises:
        OSError: the folder is missing, full or read-only; the file is then unchanged.
    """
    with replacing(path) as draft, draft.open("r+b") as file:
        target: Any = _Remembering(file)
        try:
            torch.save(content, target)
        except (RuntimeError, OSError):
            # Torch may hide why a write failed.
            if target.error is None:
                raise
        if target.error is not None:
            needed = f"{target.error.strerror}, more than {target.size / 1e6:,.1f} MB are needed"
            raise OSError(target.error.errno, needed)
        _seal(file)
        if previous is not None and path.exists():
            file.flush()
            sync(draft)
            os.replace(path, previous)


def load(path: Path, mmap: bool = False) -> Any:
    """The content of a file, verified first; no code in it is run.

    Args:
        path: a file that :func:`torch.save` or :func:`save` wrote.
        mmap: read tensors only when they are used; for archives alone.

    Raises:
        Damaged: it is not what was written, or no such file.
        Unsafe: it holds objects other than tensors and plain values.
        OSError: it cannot be read.
    """
    verify(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except (OSError, MemoryError, torch.OutOfMemoryError):
        raise
    except pickle.UnpicklingError as error:
        # An operand that torch does not know is what any other file looks like.
        if "GLOBAL" in str(error) or ("Unsupported" in str(error) and "Unsupported operand" not in str(error)):
            raise Unsafe("holds objects that could run code when loaded, which is refused") from error
        raise Damaged("is not a PyTorch file, or it is damaged") from error
    except Exception as error:
        raise Damaged("is truncated or damaged") from error


def verify(path: Path) -> None:
    """Compare a file with its seal or, without one, the members of an archive with their checksums.

    Raises:
        Damaged: it is not what was written.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _COMMENT))
        comment = file.read()
        file.seek(0)
        archive = file.read(len(_FIRST)) == _FIRST
        if comment.startswith(_MARK):
            if comment[len(_MARK) :] != _digest(file, size - _HEX):
                raise Damaged("is damaged: its bytes are not those that were written")
        elif archive:
            _check_members(file)


def seal_of(path: Path) -> str:
    """The digest in the seal of a file or, without one, that of its bytes. The file is not verified.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - _COMMENT))
        comment = file.read()
        found = comment[len(_MARK) :] if comment.startswith(_MARK) else _digest(file, size)
    return found.decode("ascii", errors="replace")


def _check_members(file: BinaryIO) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
    except OSError:
        raise
    # A flipped bit of a header makes the reader fail in many ways.
    except Exception as error:
        raise Damaged("is truncated or damaged") from error
    if broken is not None:
        raise Damaged(f"is damaged: its part {broken} is not what was written")


def _seal(file: BinaryIO) -> None:
    file.seek(-_END_SIZE, io.SEEK_END)
    end = file.read()
    if not (end.startswith(_END) and end.endswith(b"\0\0")):
        raise RuntimeError("torch wrote no archive that ends as archives do, so that it cannot be sealed")
    file.seek(-2, io.SEEK_END)
    file.write(_COMMENT.to_bytes(2, "little") + _MARK)
    file.write(_digest(file, file.tell()))


def _digest(file: BinaryIO, size: int) -> bytes:
    """SHA-256 of the first ``size`` bytes, in hexadecimal; the position is behind them afterwards."""
    found = hashlib.sha256()
    file.seek(0)
    while size and (block := file.read(min(size, 2**20))):
        found.update(block)
        size -= len(block)
    return found.hexdigest().encode()


class _Remembering:
    """A file that keeps the first error of its writes, and how many bytes it was to take by then."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None
        self.size = 0

    def write(self, content: Any) -> int:
        if self.error is None:
            self.size += len(content)
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = self.error or error
            raise

    def flush(self) -> None:
        self.file.flush()
