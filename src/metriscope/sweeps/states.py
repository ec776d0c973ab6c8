"""States of the runs of a study, read from their folders alone. Imports no torch."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from metriscope.errors import InputError, nearest
from metriscope.escapes import shown
from metriscope.reading import FOLDER, kind_of, parse_json, read_bytes
from metriscope.run.locks import is_held, lock_of
from metriscope.run.record import BROKEN, INTERRUPTED, MISSING, RUNNING, STATUSES, Unreadable, duration, read_record

ORDER = (*STATUSES, BROKEN, MISSING)
PLANS = ".multirun"
"""The folder of a study in which each sweep writes the list of its runs."""
_ASIDE = re.compile(r"\.\d+$")
# A folder three levels below a study.
_RUN = re.compile(r"[^/\0]+/[^/\0]+/[^/\0]+")
# The list of some ten thousand runs.
_BYTES, _VALUES = 2**24, 10**6
_REASON = 200


@dataclass(frozen=True)
class State:
    """State of one run, read from its folder.

    Attributes:
        folder: the run folder.
        status: one of :data:`ORDER`; ``running`` means that a process holds its lock now.
        reason: why the run failed, stopped or cannot be read.
        seconds: time spent on it so far, over all resumes.
        started, ended: ISO 8601 in UTC; ``ended`` is None for a run that is running or was killed.
        owner: ``process <pid> on <host>`` that trains or last trained the run.
    """

    folder: Path
    status: str
    reason: str | None = None
    seconds: float | None = None
    started: str | None = None
    ended: str | None = None
    owner: str | None = None


def state_of(folder: Path) -> State:
    """The state of one run folder; never raises, whatever the folder holds."""
    try:
        if link := _first_link(folder):
            return State(folder, BROKEN, f"{link} is a link, which is not followed")
        record = read_record(folder)
    except Unreadable as error:
        return State(folder, BROKEN, f"{error.path.name} {error.problem}")
    if record is None:
        held = is_held(lock_of(folder))
        return State(folder, RUNNING, "about to start") if held else State(folder, MISSING)
    owner = f"process {record.pid or '?'} on {record.host or '?'}"
    state = State(folder, record.status, record.reason, record.seconds, record.started, record.ended, owner)
    if state.status != RUNNING:
        return state
    if is_held(lock_of(folder)):
        now = (state.seconds or 0.0) + _since(record.running_since)
        return replace(state, seconds=now, reason=state.owner)
    return replace(state, status=INTERRUPTED, reason=f"killed: {state.owner} is gone")


def _first_link(folder: Path) -> Path | None:
    """The first link on the three levels between a study and a run folder."""
    return next((place for place in (*reversed(folder.parents[:2]), folder) if place.is_symlink()), None)


def states_of(study: Path) -> list[State]:
    """The states of all runs of a study, including planned runs that have not begun.

    Raises:
        InputError: the folder does not exist, or holds no run and no plan.
    """
    if not study.is_dir():
        there = [path.name for path in study.parent.iterdir() if path.is_dir()] if study.parent.is_dir() else []
        near = nearest(study.name, [name for name in there if not name.startswith(".")])
        raise InputError(f"{study}: no such folder{near}")
    lying = (path for path in study.glob("*/*/*") if os.path.lexists(path / "run.json"))
    found = {_first_link(path) or path for path in lying if not _ASIDE.search(path.name)}
    states = [state_of(folder) for folder in sorted(found | planned(study))]
    if not states:
        raise InputError(f"{study}: no runs in it; give the folder of a study, such as outputs/default")
    return states


def planned(study: Path) -> set[Path]:
    """The run folders that sweeps have planned in a study; unreadable plans, and folders elsewhere, are ignored."""
    names: set[str] = set()
    for path in (study / PLANS).glob("*.json"):
        try:
            names |= {str(name) for name in read_plan(path)["runs"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {study / name for name in names if _RUN.fullmatch(name) and not {".", ".."} & {*name.split("/")}}


def read_plan(path: Path) -> Any:
    """The content of the list of runs that a sweep wrote.

    Raises:
        OSError: there is none, or it cannot be opened.
        ValueError: it is none.
    """
    if kind_of(path.parent) != FOLDER:
        raise ValueError(f"{path.parent} is no folder")
    return parse_json(read_bytes(path, _BYTES), _VALUES)


def counts(states: Iterable[State]) -> str:
    """``12 runs: 10 finished, 1 failed, 1 missing``."""
    number = Counter(state.status for state in states)
    total = sum(number.values())
    parts = ", ".join(f"{number[status]} {status}" for status in ORDER if number[status])
    return f"{total} run{'s' * (total != 1)}" + (f": {parts}" if parts else "")


def table(states: Sequence[State], study: Path) -> str:
    """One line per run: folder below the study, status, time spent, end or start, and reason."""
    names = [shown(os.path.relpath(state.folder, study)) for state in states]
    width = max(map(len, ["run", *names]))
    lines = [f"{'run':<{width}}  {'status':<12}{'time':>9}  {'ended (UTC)':<17} reason".rstrip()]
    for name, state in zip(names, states, strict=True):
        when = (state.ended or "")[:16].replace("T", " ")
        reason = shown(" ".join((state.reason or "").split()))
        reason = reason if len(reason) <= _REASON else f"{reason[: _REASON - 1]}…"
        line = f"{name:<{width}}  {state.status:<12}{duration(state.seconds):>9}  {when:<17} {reason}"
        lines.append(line.rstrip())
    return "\n".join(lines)


def _since(moment: str | None) -> float:
    if moment is None:
        return 0.0
    # A clock may have been set back.
    return max(0.0, (datetime.now(timezone.utc) - datetime.fromisoformat(moment)).total_seconds())
