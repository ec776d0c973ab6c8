"""``run.json``, the record of a run: its format, its statuses, and the function that reads it. Imports no torch."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from metriscope.errors import InputError
from metriscope.escapes import cleaned
from metriscope.parts import ArgumentError, judge
from metriscope.reading import parse_json, read_bytes

FORMAT = 2
"""Format number of the run folders that this version writes. Records without a number have format 1."""

# A search ended a pruned run early because of worse results than other trials; it resumes like an interrupted run.
Status = Literal["finished", "running", "pruned", "interrupted", "failed"]
STATUSES: tuple[Status, ...] = get_args(Status)
"""All statuses of a record."""
FINISHED, RUNNING, PRUNED, INTERRUPTED, FAILED = STATUSES

MISSING, BROKEN = "missing", "broken"
"""States of a run folder without a record, and with a record that cannot be read."""

_TIMES = ("started", "running_since", "ended")
# A record has some kilobytes, a summary some hundred figures.
_BYTES = 2**20
_LARGEST = 1e150


@dataclass(frozen=True)
class Record:
    """The content of ``run.json``, in this order.

    Attributes:
        status: one of :data:`STATUSES`.
        reason: why it failed, was interrupted or pruned.
        format: number of the format of its folder.
        identity: hash of everything in its config that can change a result.
        wandb_id: id of its W&B run, kept over resumes.
        seed, protocol: as in its config.
        started, running_since, ended: ISO 8601 in UTC; at first, at the last resume, and when it ended.
        data: fingerprint of the data.
        init: where its first weights come from: folder and name of the run, checkpoint, epoch and digest; None where
            they were drawn by the seed.
        extends: name of the folder of the shorter run that it goes on from.
        seconds: time spent on it, over all resumes, and on the shorter run that it extends.
        epochs: how many were trained to their end.
        resumed: how often it went on from a checkpoint.
        metrics: title and direction of the logged metrics, by key without split.
        host, pid, launch, command: the process that worked on it last.
        versions: of Python and the packages that decide a result.
        git: commit of the source tree, and whether it had local changes.
        fair: hash of the manifest of the fair comparison that it is a repeat of; None for other runs.
    """

    status: Status
    reason: str | None = None
    format: int = 1
    identity: str | None = None
    wandb_id: str | None = None
    seed: int | None = None
    protocol: str | None = None
    started: str | None = None
    running_since: str | None = None
    ended: str | None = None
    data: Mapping[str, Any] | None = None
    init: Mapping[str, Any] | None = None
    extends: str | None = None
    seconds: Annotated[float, Field(ge=0, le=1e10)] | None = None
    epochs: Annotated[int, Field(ge=0)] | None = None
    resumed: Annotated[int, Field(ge=0)] = 0
    metrics: Mapping[str, Annotated[Sequence[str | None], Field(min_length=2, max_length=2)]] = field(
        default_factory=dict
    )
    host: str | None = None
    pid: int | None = None
    launch: str | None = None
    command: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    git: Mapping[str, Any] | None = None
    fair: str | None = None

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Record":
        """The record that a mapping holds; keys that this version does not know are passed over.

        Raises:
            InputError: it has no status, or a value of another type.
        """
        known = {one.name: content[one.name] for one in fields(cls) if one.name in content}
        if "status" not in known:
            raise InputError("it has no status")
        judge(cls, known)
        return cls(**known)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse a time that is not one, or has no time zone."""
        for key in _TIMES:
            value = arguments[key]
            try:
                aware = value is None or datetime.fromisoformat(value).tzinfo is not None
            except ValueError:
                aware = False
            if not aware:
                raise ArgumentError(key, value, "it has to be a time such as 2026-01-31T10:00:00+00:00")


class Unreadable(InputError):
    """A file of a run is missing, broken, or of a later version.

    Args:
        path: of the file.
        problem: what is wrong with it, and what to do.
    """

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} {problem}")
        self.path, self.problem = path, problem


def read_record(folder: Path) -> Record | None:
    """The record of a run folder; None where there is none.

    Raises:
        Unreadable: it does not read, lacks a status, holds a value of another type, or a later version wrote it.
    """
    path = folder / "run.json"
    if not os.path.lexists(path):
        return None
    content = read_json(path)
    number = content.get("format", 1)
    if not isinstance(number, int) or number > FORMAT:
        problem = f"was written by a later version of Metriscope (format {number}, this one reads up to {FORMAT})"
        raise Unreadable(path, f"{problem}: update, or set another study")
    try:
        return Record.of(content)
    except InputError as error:
        raise _not_readable(path, error) from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a run, without control characters in its texts.

    Raises:
        Unreadable: it is missing or not readable.
    """
    try:
        content = parse_json(read_bytes(path, _BYTES))
    except FileNotFoundError as error:
        raise Unreadable(path, "is missing: move the folder away, or set resume=never") from error
    except (OSError, ValueError) as error:
        raise _not_readable(path, error) from error
    if not isinstance(content, dict):
        raise _not_readable(path, "not an object")
    return dict(cleaned(content))


def read_summary(folder: Path) -> dict[str, Any]:
    """The figures in the ``summary.json`` of a run folder; None for those that were not finite.

    Raises:
        Unreadable: it is missing or not readable.
    """
    content = read_json(folder / "summary.json")
    return {key: value if is_figure(value) else None for key, value in content.items()}


def is_figure(value: Any) -> bool:
    """Whether a value of a summary is a finite number, small enough for sums of squares."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST


def _not_readable(path: Path, reason: object) -> Unreadable:
    line = " ".join(str(reason).split())[:160]
    return Unreadable(path, f"is not readable ({line}): move the folder away")


def duration(seconds: float | None) -> str:
    """``45.1 s``, ``12 min`` or ``3 h 05``; a dash for None."""
    if seconds is None:
        return "-"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02}"
