"""Grouping the runs of a study by config keys, so that the runs of a group are repeats of each other."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metriscope.annotations import said
from metriscope.config.evaluates import EVALUATES
from metriscope.errors import InputError, nearest
from metriscope.reports.sums import short_sums
from metriscope.run.identity import LABEL_NOISE, LABEL_SETS
from metriscope.run.study import StudyRun

SEED, FOLD = "seed", "dataset.fold"
# Keys that are tried first to separate runs, in this order, before all other keys.
_FIRST = ("dataset.name", "loss.name", EVALUATES, "miner.name", "backbone.name", "dataset.protocol")
_ABSENT = "-"
_SUM = "loss.losses"
_LONG = 200


@dataclass(frozen=True)
class Group:
    """Runs that are repeats of each other.

    Attributes:
        values: values of the grouping keys, equal in all runs, as text by key.
        runs: the runs.
    """

    values: Mapping[str, str]
    runs: Sequence[StudyRun]

    @property
    def block(self) -> tuple[str, ...]:
        """The data of the runs; groups are compared only within one block."""
        return tuple(value for key, value in self.values.items() if of_data(key))

    @property
    def method(self) -> str:
        """Label that separates the group from others of its block."""
        return label({key: value for key, value in self.values.items() if not of_data(key)})

    def __str__(self) -> str:
        return label(self.values)


@dataclass(frozen=True)
class Grouping:
    """A partition of runs.

    Attributes:
        by: the grouping keys.
        over: the key whose values are repeats: ``seed`` or ``dataset.fold``.
        groups: the groups, sorted by their values.
        mixed: keys other than ``over`` in which runs of one group differ.
    """

    by: Sequence[str]
    over: str
    groups: Sequence[Group]
    mixed: Sequence[str]

    def repeat(self, run: StudyRun) -> tuple[str, ...]:
        """Values that a run shares with its partner in another group."""
        return tuple(text(run.config, key) for key in (self.over, *self.mixed))


def group_runs(runs: Sequence[StudyRun], by: Sequence[str] = (), over: str = SEED) -> Grouping:
    """Group runs by config keys; by default by the few that separate all runs that differ in more than ``over``.

    Runs with other label noise are always in groups of their own: they are no repeats of each other.

    Raises:
        InputError: no run has a key, or groups would mix the spread over seeds with that over folds.
    """
    known = {key for run in runs for key in run.config}
    for key in (*by, over):
        if key not in known:
            raise InputError(f"{key}: no run has this key{nearest(key, known)}")
    if over in by:
        raise InputError(f"{over} is what runs repeat over: leave it out of --by, or choose another --over")
    by = [*by, *_labels(runs, by)] if by else by
    telling = _telling_apart(runs, by, over)
    mixed = telling[len(by) :] if by else []
    chosen = list(by) or telling or ["dataset.name", "loss.name"]
    if repeated := {SEED, FOLD} & set(mixed):
        other = repeated.pop()
        raise InputError(
            f"groups by {', '.join(by)} would mix the spread over {other} with that over {over}: "
            f"add {other} to --by, or one value of it to --where"
        )
    members: dict[tuple[str, ...], list[StudyRun]] = {}
    for run in runs:
        members.setdefault(tuple(text(run.config, key) for key in chosen), []).append(run)
    if _SUM in chosen:
        place, short = list(chosen).index(_SUM), short_sums([run.config.get(_SUM) for run in runs])
        members = {(*v[:place], short.get(v[place], v[place]), *v[place + 1 :]): own for v, own in members.items()}
    groups = [Group(dict(zip(chosen, values, strict=True)), members[values]) for values in sorted(members, key=_order)]
    return Grouping(chosen, over, groups, mixed)


def text(config: Mapping[str, Any], key: str) -> str:
    """A value as written on the command line, a class without its module; ``-`` if the config has no such key.

    A long value is cut, and told from others by its digest. Label noise that is null, or a key that the run does not
    have, is the share 0.
    """
    if key == LABEL_NOISE and not config.get(key):
        return "0"
    found = said(config[key] if key in config else str(config.get(f"{key}._target_", _ABSENT)).rpartition(".")[2])
    return found if len(found) <= _LONG else f"{found[:_LONG]}… {hashlib.sha256(found.encode()).hexdigest()[:8]}"


def label(values: Mapping[str, str]) -> str:
    """Label of a group: names alone, other values with their key."""
    shown = [
        value if key.endswith(".name") or key == _SUM else f"{key.split('.')[-1]}={value}"
        for key, value in values.items()
    ]
    return ", ".join(shown) or "all runs"


def _telling_apart(runs: Sequence[StudyRun], first: Sequence[str], over: str) -> list[str]:
    """``first``, then every further key that separates runs of one group that differ."""
    flat = [run.relevant for run in runs]
    details = dict.fromkeys(key for config in flat for key in config if not key.endswith("_target_"))
    details |= dict.fromkeys(key for run in runs for key in _parts_by_name(run.config))
    names = [key for key in details if key.endswith(".name")]
    repeats = (FOLD, SEED)
    ordered = [key for key in dict.fromkeys((*_FIRST, *names, *details, "study")) if key not in repeats]
    chosen = list(first)
    cells = [tuple(text(run.config, key) for key in first) for run in runs]
    for key in (*ordered, *repeats):
        column = [text(run.config, key) for run in runs]
        if key in (*first, over) or len(set(column)) == 1:
            continue
        finer = [(*cell, value) for cell, value in zip(cells, column, strict=True)]
        if len(set(finer)) > len(set(cells)):
            cells = finer
            chosen.append(key)
    return chosen


def _labels(runs: Sequence[StudyRun], by: Sequence[str]) -> list[str]:
    """Keys of label noise, and of the label sets that are used, beside ``by``, in which the runs differ."""
    keys = dict.fromkeys(key for run in runs for key in run.relevant if key.startswith((LABEL_NOISE, *LABEL_SETS)))
    return [key for key in keys if key not in by and len({text(run.relevant, key) for run in runs}) > 1]


def _parts_by_name(config: Mapping[str, Any]) -> list[str]:
    """Parts that a run has or has not, whatever their arguments."""
    groups = ("evaluation.metrics.", "diagnostics.")
    return [key.removesuffix("._target_") for key in config if key.startswith(groups) and key.endswith("._target_")]


def of_data(key: str) -> bool:
    """Whether a config key says which data a run has."""
    return key.startswith("dataset.")


def _order(values: tuple[str, ...]) -> list[tuple[float, str]]:
    """Sort key: numbers by size, then text in alphabetical order."""

    def place(value: str) -> tuple[float, str]:
        try:
            return float(value), value
        except ValueError:
            return math.inf, value

    return [place(value) for value in values]
