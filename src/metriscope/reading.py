"""Reading files that others may have written: regular files only, no link followed, size and depth bounded."""

import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import yaml

FOLDER = "a folder"
"""What :func:`kind_of` says of a folder."""
MAX_DEPTH = 32
"""Lists and mappings inside each other."""
MAX_VALUES = 100_000
"""Values in one file; a value that aliases repeat counts each time."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_KINDS = {
    stat.S_IFLNK: "a link, which is not followed",
    stat.S_IFDIR: FOLDER,
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def kind_of(path: str | Path, follow: bool = False) -> str | None:
    """What a path is in words, where it is no regular file; None for a regular file.

    Args:
        follow: judge what a link leads to, and not the link.

    Raises:
        OSError: there is nothing.
    """
    return _KINDS.get(stat.S_IFMT(os.stat(path, follow_symlinks=follow).st_mode))


@contextmanager
def opened(path: Path, limit: int) -> Iterator[BinaryIO]:
    """Open a regular file of at most ``limit`` bytes.

    Raises:
        OSError: there is none, or it cannot be opened.
        ValueError: it is a link, a pipe or the like, or larger.
    """
    kind = kind_of(path)
    if kind is None:
        # The file may have been replaced since: then opening neither follows a link nor waits for a pipe.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            found = os.fstat(file.fileno())
            kind = _KINDS.get(stat.S_IFMT(found.st_mode))
            if found.st_size > limit:
                raise ValueError(f"{found.st_size:,} bytes, and {limit:,} are the limit")
            if kind is None:
                yield file
                return
    raise ValueError(f"it is {kind}")


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file; raises as :func:`opened`."""
    with opened(path, limit) as file:
        return file.read(limit)


def parse_json(content: bytes, values: int = MAX_VALUES) -> Any:
    """The value of a JSON text.

    Args:
        values: how many there may be at most.

    Raises:
        ValueError: no JSON, or beyond the bounds of :func:`bounded`.
    """
    try:
        return bounded(json.loads(content), values)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def parse_yaml(text: str | bytes) -> Any:
    """The value of a YAML text; None for an empty one.

    Raises:
        ValueError: keys that merge another mapping, which multiply, or beyond the bounds of :func:`bounded`.
        YAMLError: no YAML, or a tag that stands for an object.
    """
    depth = 0
    # The loader calls itself for every level, so the depth has to be known before.
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and (event.value == "<<" or event.tag == _MERGE):
            raise ValueError("merge keys are not read")
        if depth > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
    return bounded(yaml.load(text, Loader=_Loader))


_TOO_DEEP = f"more than {MAX_DEPTH} lists or mappings inside each other"
_MERGE = "tag:yaml.org,2002:merge"


def bounded(value: Any, values: int = MAX_VALUES) -> Any:
    """The value itself, once it is found to be small, flat and plain.

    Raises:
        ValueError: more than :data:`MAX_DEPTH` levels or ``values`` values, whole numbers beyond 64 bits, or
            values other than text, numbers, lists and mappings.
    """
    waiting, count = [(value, 1)], 0
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, dict | list):
            count += len(one)
            if depth > MAX_DEPTH:
                raise ValueError(_TOO_DEEP)
            if count > values:
                raise ValueError(f"more than {values:,} values")
            if isinstance(one, dict):
                waiting.extend((key, depth) for key in one)
                one = one.values()
            waiting.extend((item, depth + 1) for item in one)
        elif isinstance(one, int):
            if not -(2**63) <= one < 2**64:
                raise ValueError("a whole number beyond 64 bits")
        elif one is not None and not isinstance(one, str | float):
            raise ValueError(f"a value of the type {type(one).__name__}")
    return value
