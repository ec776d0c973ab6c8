"""Atomic writes: a file holds its old content or its new content, never a part of it, also after a power cut."""

import errno
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_DRAFT = re.compile(r"\.metriscope-[0-9a-f]{16}-.+", re.DOTALL)


class LinkRefused(OSError):
    """A link where a folder of results has to be."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file beside ``path`` (same suffix) that replaces it when the block ends without an error.

    The new content is on disk before it gets its name. Nobody can guess the name of the draft, so no link can wait
    in its place; where ``path`` itself is a link, the link is replaced and not what it points to. The folder has to
    be there: a run folder that was taken away is not made again.

    Raises:
        OSError: the folder is missing, full or read-only; ``path`` is then unchanged. ``filename`` is ``path``.
    """
    draft = _beside(path)
    try:
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
        yield draft
        sync(draft)
        os.replace(draft, path)
        sync(path.parent)
    except OSError as error:
        if error.filename in (None, str(draft), draft):
            error.filename = str(path)
        raise
    finally:
        with suppress(OSError):
            draft.unlink()


@contextmanager
def replacing_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """An empty folder beside ``path`` that gets its name when the block ends without an error.

    All files in it are on disk before it gets its name. Missing folders above it are made.

    Args:
        path: of the folder; absolute.
        overwrite: let it take the place of an existing folder, which is deleted.

    Raises:
        OSError: something is in its place, or the folder above is full or read-only; ``filename`` is ``path``.
    """
    draft = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
        yield draft
        for file in draft.iterdir():
            sync(file)
        sync(draft)
        _rename(draft, path, overwrite)
        sync(path.parent)
    except OSError as error:
        if error.filename is None or str(error.filename).startswith(str(draft)):
            error.filename = str(path)
        raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _rename(draft: Path, path: Path, overwrite: bool) -> None:
    if not os.path.lexists(path):
        os.rename(draft, path)
        return
    if not overwrite:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    # A folder with files in it cannot be replaced in one step.
    before = _beside(path)
    os.rename(path, before)
    try:
        os.rename(draft, path)
    except OSError:
        os.rename(before, path)
        raise
    shutil.rmtree(before, ignore_errors=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".metriscope-{secrets.token_hex(8)}-{path.name}")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk.

    Raises:
        OSError: they cannot be written.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        # Some network file systems sync no folders.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(file)


def drafts(folder: Path) -> list[Path]:
    """Files that :func:`replacing` left in ``folder`` and below because its process was killed; no links."""
    found = folder.rglob(".metriscope-*")
    return [path for path in found if _DRAFT.fullmatch(path.name) and path.is_file() and not path.is_symlink()]


def folder_in(folder: Path, name: str) -> Path:
    """The folder of this name in an existing ``folder``, made where it is missing.

    Raises:
        LinkRefused: a link is in its place.
        OSError: ``folder`` is missing, full or read-only.
    """
    found = folder / name
    refuse_link(found)
    found.mkdir(exist_ok=True)
    return found


def refuse_link(path: Path) -> None:
    """Raises :class:`LinkRefused` where ``path`` is a link: what is written below it could be somebody else's."""
    if path.is_symlink():
        raise LinkRefused(errno.ELOOP, "it is a link, which could lead to files of somebody else", str(path))


def set_aside(path: Path, folder: Path) -> Path:
    """Move a file that is broken to ``folder``, under its name with ``.aside``; an earlier one is replaced.

    Raises:
        OSError: it cannot be moved.
    """
    aside = folder / f"{path.name}.aside"
    os.replace(path, aside)
    return aside


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write ``data`` atomically. JSON has no NaN or infinity: they become ``null``; paths become strings.

    Raises:
        OSError: the folder is missing, full or read-only.
        TypeError: a value other than plain JSON values, paths, and scalars of NumPy or torch.
    """
    text = json.dumps(_plain(data), indent=2, allow_nan=False) + "\n"
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
