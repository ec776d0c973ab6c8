"""Reading a run's history: rows of ``metrics.csv``, and the flat summary made from them."""

import csv
import math
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from metriscope.errors import InputError
from metriscope.reading import opened

EPOCHS = "epochs"
"""Key of the number of epochs trained, in the summary that loggers get."""
LOSS = "train/loss"
"""Key of the mean loss of an epoch, which every run logs."""

_PLACE = ("epoch", "step")
# In histories of others: bytes, lines, and rows with a wanted key, which are at most one per epoch.
_BYTES, _LINES, _ROWS = 2**29, 10**7, 10**6
# Bytes of a row of some thousand columns.
_LINE = 2**17
_DIGITS = 15

Row = dict[str, float]
"""One row of the history: ``epoch`` and ``step`` as ints, then the logged values by key."""


class Selected(NamedTuple):
    """When a checkpoint was saved.

    Attributes:
        epoch: from 0.
        global_step: the optimiser steps done by then.
    """

    epoch: int
    global_step: int


def read_history(path: Path, keys: Collection[str] | None = None) -> list[Row]:
    """The rows of a ``metrics.csv`` without empty cells; no rows if the file does not exist.

    A last line without a line end was cut off when the process was killed, and is dropped. With ``keys``, only rows
    that hold one of them are returned, reduced to these keys, ``epoch`` and ``step``: much faster for few keys.

    Raises:
        InputError: a line in the middle does not fit the header, or the header is none.
    """
    rows, wrong = _rows(path, keys)
    if wrong:
        what = "no header with epoch and step" if wrong[0] == 1 else "does not fit the header"
        raise InputError(f"{path}, line {wrong[0]}: {what}; repair or delete the line")
    return rows


def rows_that_read(path: Path) -> tuple[list[Row], bool]:
    """The rows of a ``metrics.csv`` that can be read, and whether there are others."""
    rows, wrong = _rows(path, None)
    return rows, bool(wrong)


def _rows(path: Path, keys: Collection[str] | None) -> tuple[list[Row], list[int]]:
    """The rows, and the numbers of the lines that do not fit the header, the last line aside."""
    if not os.path.lexists(path):
        return [], []
    try:
        # A whole history is read by its own run only, which may be of any length.
        with opened(path, sys.maxsize if keys is None else _BYTES) as file:
            return _rows_of(_whole_lines(file), keys)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable ({error}): repair or delete it") from error


def _rows_of(lines: Iterator[bytes | None], keys: Collection[str] | None) -> tuple[list[Row], list[int]]:
    first = next(lines, b"")
    header = _header(first)
    if not {*_PLACE} <= {*header}:
        return [], [1] if first != b"" or next(lines, b"") != b"" else []
    wanted = [(i, key) for i, key in enumerate(header) if keys is None or key in keys or key in _PLACE]
    # Per-step columns come before per-epoch ones: a line that is empty from the first wanted column on is skipped.
    start = min((i for i, key in wanted if keys is not None and key in keys), default=0)
    empty = None if keys is None else b"," * (len(header) - start)
    rows: list[Row] = []
    wrong, number = [], 1
    for number, line in enumerate(lines, start=2):
        if keys is not None and (number > _LINES or len(rows) > _ROWS):
            raise ValueError(f"more than {_LINES:,} lines or {_ROWS:,} rows")
        if line is not None and empty is not None and line.endswith(empty):
            continue
        try:
            cells = [] if line is None else line.decode("utf-8", errors="replace").split(",")
            if len(cells) != len(header):
                raise ValueError
            row = {key: _number(key, cell) for i, key in wanted if (cell := cells[i]) or key in _PLACE}
        except ValueError:
            wrong.append(number)
            continue
        if keys is None or row.keys() & keys:
            rows.append(row)
    return rows, [one for one in wrong if one < number]


def _whole_lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Lines without their ends, None for one that is too long; what follows the last line end was cut off."""
    while line := file.readline(_LINE):
        if line.endswith(b"\n"):
            yield line.rstrip(b"\r\n")
        else:
            while line and not line.endswith(b"\n"):
                line = file.readline(_LINE)
            if line:
                yield None


def _header(line: bytes | None) -> list[str]:
    try:
        return next(csv.reader([(line or b"").decode("utf-8", errors="replace")]), [])
    except csv.Error:
        return []


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


def lost_epochs(history: Sequence[Row], trained: int, last_step: int) -> list[int]:
    """The epochs of which a history lacks rows.

    Args:
        history: the rows before the checkpoint that a run resumes from.
        trained: how many epochs were trained to their end before it.
        last_step: the last step before it that was logged.
    """
    whole = {int(row["epoch"]) for row in history if LOSS in row}
    lost = [epoch for epoch in range(trained) if epoch not in whole]
    reached = max((row["step"] for row in history), default=-1)
    return lost if lost or reached >= last_step else [trained]


def summary(history: Sequence[Row], best: Selected | None = None, final: Mapping[str, float] | None = None) -> Row:
    """The flat summary of a run.

    Args:
        history: the rows of the run, in order.
        best: when the checkpoint was saved that was selected on validation.
        final: values that replace those of the history, such as the test metrics.

    Returns:
        the last value of every epoch-level key (per-step keys end in ``_step`` and are left out), and, where
        a checkpoint was selected, ``best/epoch`` and ``best/val/...``: the validation values of that moment.
    """
    values: Row = {}
    chosen: Row = {}
    for row in history:
        level = {key: value for key, value in row.items() if "/" in key and not key.endswith("_step")}
        values |= level
        # Logged steps are numbered from 0.
        if best is not None and row.get("step") == best.global_step - 1:
            chosen |= {f"best/{key}": value for key, value in level.items() if key.startswith("val/")}
    values |= {key: float(value) for key, value in (final or {}).items()}
    return values if best is None else values | {"best/epoch": best.epoch} | chosen
