"""Reading the text files in which data sets list images and classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from metriscope.errors import InputError
from metriscope.reading import FOLDER, kind_of

V = TypeVar("V")


def text_of(path: Path) -> str:
    """The content of a UTF-8 file, without a byte order mark.

    Raises:
        InputError: the file cannot be read or is no text.
    """
    try:
        # A pipe would be waited for without end.
        if (kind := kind_of(path, follow=True)) not in (None, FOLDER):
            raise InputError(f"cannot read {path}: it is {kind}")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"cannot read {path}: it is no UTF-8 text (byte {error.start})") from error


def lookup(known: Mapping[str, V], key: str, what: str, path: Path, line: int) -> V:
    """``known[key]`` for a key read from a line of ``path``; InputError if the key is unknown."""
    if key not in known:
        raise InputError(f"{path} line {line}: there is no {what} {key}")
    return known[key]


def rows(path: Path, *columns: str, header: int = 0) -> list[tuple[int, list[str]]]:
    """The lines of a table with columns separated by white space, each with its line number.

    Args:
        path: a text file.
        columns: names of the columns; values of the last column may contain spaces.
        header: number of lines to skip at the top.

    Raises:
        InputError: the file cannot be read, or a line has too few columns.
    """
    table = []
    for number, line in enumerate(text_of(path).splitlines(), start=1):
        cells = line.strip().split(maxsplit=len(columns) - 1)
        if number <= header or not cells:
            continue
        if len(cells) < len(columns):
            expected = " ".join(f"<{column}>" for column in columns)
            raise InputError(f"{path} line {number}: expected '{expected}', found '{line.strip()[:80]}'")
        table.append((number, cells))
    return table
