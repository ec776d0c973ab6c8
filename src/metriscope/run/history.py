"""Reading a run's history: rows of ``metrics.csv``, and the flat summary made from them."""

import csv
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from metriscope.errors import InputError
from metriscope.reading import opened

EPOCHS = "epochs"
"""Key of the number of epochs trained, in the summary that loggers get."""
LOSS = "train/loss"
"""Key of the mean loss of an epoch, which every run logs."""

_PLACE = ("epoch", "step")
# A million rows of some hundred columns, and a row of some thousand.
_BYTES, _LINE = 2**29, 2**17
_DIGITS = 15

Row = dict[str, float]
"""One row of the history: ``epoch`` and ``step`` as ints, then the logged values by key."""


def read_history(path: Path, keys: Collection[str] | None = None) -> list[Row]:
    """The rows of a ``metrics.csv`` without empty cells; no rows if the file does not exist.

    A last line without a line end was cut off when the process was killed, and is dropped. With ``keys``, only rows
    that hold one of them are returned, reduced to these keys, ``epoch`` and ``step``: much faster for few keys.

    Raises:
        InputError: a line in the middle does not fit the header, the header has no epoch or step, or the file is none.
    """
    if not os.path.lexists(path):
        return []
    try:
        with opened(path, _BYTES) as file:
            return list(_rows(path, file, keys))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} is not readable ({error}): repair or delete it") from error


def _rows(path: Path, file: BinaryIO, keys: Collection[str] | None) -> Iterator[Row]:
    first_line = file.readline(_LINE + 1)
    if not first_line.endswith(b"\n"):
        _check_length(first_line)
        return
    header = next(csv.reader([_text(first_line)]), [])
    wanted = [(i, key) for i, key in enumerate(header) if keys is None or key in keys or key in _PLACE]
    if header and not {*_PLACE} <= {*header}:
        raise ValueError(f"line 1 has no column {' or '.join(_PLACE)}")
    # Per-step columns come before per-epoch ones: a line that is empty from the first wanted column on is skipped.
    first = min((i for i, key in wanted if keys is not None and key in keys), default=0)
    empty = None if keys is None else b"," * (len(header) - first)
    misfit = 0
    for number, whole in enumerate(iter(partial(file.readline, _LINE + 1), b""), start=2):
        if not whole.endswith(b"\n"):
            _check_length(whole)
            break
        if misfit:
            raise InputError(f"{path}, line {misfit}: does not fit the header; repair or delete the line")
        line = whole.rstrip(b"\r\n")
        if empty is not None and line.endswith(empty):
            continue
        cells = _text(line).split(",")
        try:
            if len(cells) != len(header):
                raise ValueError
            row = {key: _number(key, cell) for i, key in wanted if (cell := cells[i]) or key in _PLACE}
        except ValueError:
            misfit = number
            continue
        if keys is None or row.keys() & keys:
            yield row


def _check_length(line: bytes) -> None:
    if len(line) > _LINE:
        raise ValueError(f"a line of more than {_LINE:,} bytes")


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").rstrip("\r\n")


def _number(key: str, cell: str) -> float:
    if key not in _PLACE:
        return float(cell)
    if len(cell) > _DIGITS:
        raise ValueError
    return int(cell)


def points(history: Sequence[Row], key: str, x: str = "epoch") -> tuple[list[float], list[float]]:
    """The positions (``epoch`` or ``step``) at which one key was logged with a finite value, and these values."""
    pairs = [(row[x], row[key]) for row in history if x in row and math.isfinite(row.get(key, math.nan))]
    return [place for place, _ in pairs], [value for _, value in pairs]


def epochs_trained(history: Sequence[Row]) -> int:
    """How many epochs were trained to their end; each one leaves the mean of its loss."""
    return max((int(row["epoch"]) + 1 for row in history if LOSS in row), default=0)


def summary(history: Sequence[Row], best_epoch: int | None = None, final: Mapping[str, float] | None = None) -> Row:
    """The flat summary of a run.

    Args:
        history: the rows of the run, in order.
        best_epoch: the epoch (from 0) whose checkpoint was selected on validation.
        final: values that replace those of the history, such as the test metrics.

    Returns:
        the last value of every epoch-level key (per-step keys end in ``_step`` and are left out), and, where
        an epoch was selected, ``best/epoch`` and ``best/val/...``: the validation values of that epoch.
    """
    values: Row = {}
    best: Row = {}
    for row in history:
        level = {key: value for key, value in row.items() if "/" in key and not key.endswith("_step")}
        values |= level
        if best_epoch is not None and row.get("epoch") == best_epoch:
            best |= {f"best/{key}": value for key, value in level.items() if key.startswith("val/")}
    values |= {key: float(value) for key, value in (final or {}).items()}
    return values if best_epoch is None else values | {"best/epoch": best_epoch} | best
