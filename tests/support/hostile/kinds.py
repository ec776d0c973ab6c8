"""What a kind of damage is, and what it may do to a whole run folder."""

import json
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

HUGE = 2**35
"""Bytes of a file that takes no room on the disk."""
# A name that would be markup, a command or another line in each of the formats that a report has.
MARKUP = "<script>alert(1)</script>|[x](javascript:y)\\input{z}$_{$&lt;`'\"%#"
CONTROL = "a\x1b[2Jb\nc\rd\x00e\u202ef\u2028g"


class Traps(NamedTuple):
    """What must be as before in the end.

    Attributes:
        outside: folder of files that links lead to.
        executed: file that is there if code of a study ran.
    """

    outside: Path
    executed: Path

    @property
    def victim(self) -> Path:
        return self.outside / "victim.txt"


class Kind(NamedTuple):
    """One kind of damage.

    Attributes:
        make: does it to a finished run folder.
        compared: the run still counts: only what is drawn of it, or its names, are damaged.
        broken: ``metriscope status`` calls it broken.
        trains: the same command would train afresh, since there is no record.
        drawn: a line says what is left out of the figures.
    """

    make: Callable[[Path, Traps], Any]
    compared: bool = False
    broken: bool = False
    trains: bool = False
    drawn: bool = False


def text(name: str, content: str | bytes) -> Callable[[Path, Traps], Any]:
    """Another content of a file."""
    given = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    return lambda folder, traps: (folder / name).write_bytes(given)


def absent(name: str) -> Callable[[Path, Traps], Any]:
    return lambda folder, traps: (folder / name).unlink()


def huge(name: str) -> Callable[[Path, Traps], Any]:
    def make(folder: Path, traps: Traps) -> None:
        with (folder / name).open("ab") as file:
            file.truncate(HUGE)

    return make


def directory(name: str) -> Callable[[Path, Traps], Any]:
    return lambda folder, traps: _instead(folder / name, Path.mkdir)


def pipe(name: str) -> Callable[[Path, Traps], Any]:
    return lambda folder, traps: _instead(folder / name, os.mkfifo)


def listener(name: str) -> Callable[[Path, Traps], Any]:
    """A socket in the file system; its path may be longer than the address of a socket."""

    def make(folder: Path, traps: Traps) -> None:
        before = Path.cwd()
        os.chdir(folder)
        try:
            _instead(Path(name), lambda path: socket.socket(socket.AF_UNIX).bind(str(path)))
        finally:
            os.chdir(before)

    return make


def link(name: str, to: str | None = None) -> Callable[[Path, Traps], Any]:
    """A link to ``to``; to its own content outside of the study if not given."""

    def make(folder: Path, traps: Traps) -> None:
        path = folder / name
        target = Path(to) if to else traps.outside / f"{folder.name}-{path.name}"
        if not to and path.exists():
            path.rename(target)
        _instead(path, lambda place: place.symlink_to(target))

    return make


def loop(name: str) -> Callable[[Path, Traps], Any]:
    return lambda folder, traps: _instead(folder / name, lambda path: path.symlink_to(path.name))


def changed(name: str, **changes: Any) -> Callable[[Path, Traps], Any]:
    """Other values in a JSON file."""

    def make(folder: Path, traps: Traps) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **changes}))

    return make


def of_every_sort(name: str, **said: bool) -> dict[str, Kind]:
    """What any file may be instead."""
    return {
        f"{name} is a pipe": Kind(pipe(name), **said),
        f"{name} is a socket": Kind(listener(name), **said),
        f"{name} is a folder": Kind(directory(name), **said),
        f"{name} is a link to itself": Kind(loop(name), **said),
        f"{name} is a link out of the study": Kind(link(name), **said),
        f"{name} is a link to a device": Kind(link(name, "/dev/zero"), **said),
        f"{name} is of 32 GiB": Kind(huge(name), **said),
        f"{name} is binary": Kind(text(name, bytes(range(256)) * 16), **said),
    }


class Executed:
    """What runs code when it is unpickled."""

    def __init__(self, traps: Traps) -> None:
        self.path = str(traps.executed)

    def __reduce__(self) -> Any:
        return open, (self.path, "w")


def executing(traps: Traps) -> bytes:
    return pickle.dumps(Executed(traps))


def _instead(path: Path, make: Callable[[Path], Any]) -> None:
    path.unlink(missing_ok=True)
    make(path)
