"""``ledger.csv``: every trial of a fair comparison, one a line. Imports no torch."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metriscope.errors import InputError
from metriscope.files import replacing
from metriscope.reading import read_bytes
from metriscope.run.fair import LEDGER

COMPLETE, PRUNED, FAILED = STATUSES = ("complete", "pruned", "failed")
_BEFORE = ("entry", "trial", "seed", "config", "params")
_BEHIND = ("value", "status", "steps", "seconds")
_BYTES = 2**24


@dataclass(frozen=True)
class Row:
    """One trial.

    Attributes:
        entry: name of what was searched.
        trial: its number there, from 0, which is the default setting.
        seed: of its runs.
        config: hash of the config of its first fold.
        params: what the search set, by key.
        folds: the metric of each fold, those first that were trained.
        value: mean over all folds; None unless it is complete.
        status: one of :data:`STATUSES`.
        steps: optimizer steps to the best epoch, mean over its folds; None where it failed.
        seconds: time of all folds.
    """

    entry: str
    trial: int
    seed: int
    config: str
    params: Mapping[str, Any]
    folds: tuple[float, ...]
    value: float | None
    status: str
    steps: int | None
    seconds: float


def columns(folds: int) -> list[str]:
    """The head of the file."""
    return [*_BEFORE, *(f"fold_{fold}" for fold in range(folds)), *_BEHIND]


def write(folder: Path, rows: Sequence[Row], folds: int) -> None:
    """Replace the ledger in a study's folder.

    Raises:
        OSError: the folder is missing, full or read-only.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(columns(folds))
    for row in rows:
        values = [*map(repr, row.folds), *[""] * (folds - len(row.folds))]
        params = json.dumps(dict(row.params), sort_keys=True)
        lines.writerow([
            row.entry, row.trial, row.seed, row.config, params, *values, _text(row.value), row.status,
            _text(row.steps), row.seconds,
        ])  # fmt: skip
    with replacing(folder / LEDGER) as draft:
        draft.write_text(text.getvalue(), encoding="utf-8")


def read(folder: Path, folds: int) -> list[Row]:
    """The trials in the ledger of a study; none where there is none.

    Raises:
        InputError: it does not read, or is no ledger of so many folds.
    """
    path = folder / LEDGER
    try:
        text = read_bytes(path, _BYTES).decode()
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not readable ({error}): restore it, or set another study") from error
    lines = list(csv.reader(io.StringIO(text)))
    if not lines or lines[0] != columns(folds):
        raise InputError(f"{path} is no ledger of {folds} folds: restore it, or set another study")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            rows.append(_row(dict(zip(lines[0], line, strict=True)), folds))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}, line {number} does not read ({error}): restore it") from error
    return rows


def _row(line: Mapping[str, str], folds: int) -> Row:
    values = [line[f"fold_{fold}"] for fold in range(folds)]
    done = tuple(_finite(value) for value in values if value)
    params = json.loads(line["params"])
    if line["status"] not in STATUSES or not isinstance(params, dict) or any(values[len(done) :]):
        raise ValueError(f"status {line['status']}")
    row = Row(
        line["entry"], int(line["trial"]), int(line["seed"]), line["config"], params, done,
        _finite(line["value"]) if line["value"] else None, line["status"],
        int(line["steps"]) if line["steps"] else None, float(line["seconds"]),
    )  # fmt: skip
    whole = row.value is not None and row.steps is not None and len(done) == folds
    if (row.status == COMPLETE) != whole:
        raise ValueError(f"{row.status}, with {len(done)} folds and value {line['value'] or 'missing'}")
    return row


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value


def _text(value: float | int | None) -> str:
    return "" if value is None else repr(value)


def best_of(rows: Sequence[Row], mode: str) -> Row | None:
    """The complete trial with the best value, the first of equal ones; None where none is complete."""
    complete = [row for row in rows if row.status == COMPLETE and row.value is not None]
    sign = 1 if mode == "max" else -1
    return max(complete, key=lambda row: (sign * (row.value or 0.0), -row.trial), default=None)
