"""Downloading files: one process at a time, resumable, and checked before use."""

import hashlib
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import IO

from filelock import FileLock

from metriscope.errors import InputError
from metriscope.terminal import is_interactive

log = logging.getLogger(__name__)

_TIMEOUT = 30  # seconds without a byte
_CHUNK = 2**20


def download(name: str, fetch: Callable[[], object], data_dir: Path) -> None:
    """Runs ``fetch`` in one process; processes that start at the same time wait for it.

    Raises:
        InputError: the folder cannot be written or nothing could be fetched.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(data_dir / f".{name}.lock"):
            fetch()
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot download {name} to {data_dir}: {reason}; put its files there by hand") from error


def missing(name: str, files: list[str], folder: Path) -> InputError:
    return InputError(
        f"{name} is not complete: {', '.join(files)} missing in {folder}; dataset.download=true fetches "
        "them, paths.data_dir=<folder> names another place"
    )


def fetch(url: str, target: Path, md5: str) -> None:
    """Downloads ``url``; ``target`` is created only when the file is complete and has the published checksum.

    Until then the bytes are in ``<target>.part``, which is kept after an interruption. The next call continues it
    if the server can, and starts again if not.

    Raises:
        InputError: the server does not answer or refuses, the connection ended early, or the checksum differs,
            in which case the download is deleted.
        OSError: the folder cannot be written.
    """
    part = target.with_name(f"{target.name}.part")
    done = part.stat().st_size if part.exists() else 0
    log.info("fetching %s to %s%s", url, target.parent, f", going on at {_size(done)}" if done else "")
    headers = {"User-Agent": "metriscope"} | ({"Range": f"bytes={done}-"} if done else {})
    total = None
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT) as answer:
            start = done if answer.status == 206 else 0
            length = answer.headers.get("Content-Length")
            total = start + int(length) if length else None
            with part.open("ab" if start else "wb") as file:
                _copy(answer, file, target.name, start, total)
    except urllib.error.URLError as error:
        # 416: the server has no further bytes. The part is complete or of another file; the checksum decides.
        if not (done and isinstance(error, urllib.error.HTTPError) and error.code == 416):
            reason = error if isinstance(error, urllib.error.HTTPError) else error.reason
            raise InputError(
                f"cannot fetch {url}: {reason}; run again, or put {target.name} into {target.parent} by hand"
            ) from error
    except (HTTPException, ConnectionError, TimeoutError) as error:
        raise _ended(part, total) from error
    if total is not None and part.stat().st_size < total:
        raise _ended(part, total)
    found = checksum(part)
    if found != md5:
        part.unlink()
        raise InputError(
            f"{url} is not the published file: its md5 is {found}, not {md5}; what came was deleted. Run again, "
            f"or put {target.name} into {target.parent} by hand"
        )
    part.replace(target)


def _ended(part: Path, total: int | None) -> InputError:
    whole = f" of {_size(total)}" if total else ""
    return InputError(
        f"the download of {part.stem} ended at {_size(part.stat().st_size)}{whole}: run the same command again, it "
        f"goes on from {part}"
    )


def checksum(path: Path) -> str:
    """The md5 of a file in hexadecimal, the checksum that publishers of data sets give."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def _copy(source: IO[bytes], file: IO[bytes], name: str, start: int, total: int | None) -> None:
    with _bar(name, start, total) as advance:
        while block := source.read(_CHUNK):
            file.write(block)
            advance(len(block))


@contextmanager
def _bar(name: str, start: int, total: int | None) -> Iterator[Callable[[int], object]]:
    if not is_interactive():
        yield lambda size: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, transient=True) as progress:
        task = progress.add_task(name, total=total, completed=start)
        yield lambda size: progress.advance(task, size)


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
