"""Which runs of a study are repeats of each other: groups by config keys, and what a group may not mix."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metriscope.errors import InputError, nearest
from metriscope.run.identity import relevant
from metriscope.run.study import StudyRun

SEED, FOLD = "seed", "dataset.fold"
# In this order keys are asked to tell runs apart: what people call a run by, before its details.
_FIRST = ("dataset.name", "loss.name", "miner.name", "backbone.name", "dataset.protocol")
_ABSENT = "-"


@dataclass(frozen=True)
class Group:
    """Runs that repeat each other.

    Attributes:
        values: what the keys that groups are made by are in all of its runs, as text, by key.
        runs: the runs.
    """

    values: Mapping[str, str]
    runs: Sequence[StudyRun]

    @property
    def block(self) -> tuple[str, ...]:
        """The data that the runs were made on: only groups of one block compare."""
        return tuple(value for key, value in self.values.items() if _of_data(key))

    @property
    def method(self) -> str:
        """What tells the group apart from others of its block."""
        return label({key: value for key, value in self.values.items() if not _of_data(key)})

    def __str__(self) -> str:
        return label(self.values)


@dataclass(frozen=True)
class Grouping:
    """A partition of runs.

    Attributes:
        by: the keys that groups are made by.
        over: the key whose values are repeats: ``seed`` or ``dataset.fold``.
        groups: sorted by their values.
        mixed: keys, other than ``over``, in which runs of one group differ.
    """

    by: Sequence[str]
    over: str
    groups: Sequence[Group]
    mixed: Sequence[str]

    def repeat(self, run: StudyRun) -> tuple[str, ...]:
        """What a run shares with its partner in another group."""
        return tuple(text(run.config, key) for key in (self.over, *self.mixed))


def group_runs(runs: Sequence[StudyRun], by: Sequence[str] = (), over: str = SEED) -> Grouping:
    """Group runs by config keys; by default the few that tell all runs apart but for ``over``.

    Raises:
        InputError: a key that no run has, or groups in which the spread over seeds and over folds would mix.
    """
    known = {key for run in runs for key in run.config}
    for key in (*by, over):
        if key not in known:
            raise InputError(f"{key}: no run has this key{nearest(key, known)}")
    if over in by:
        raise InputError(f"{over} is what runs repeat over: leave it out of --by, or choose another --over")
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
    groups = [Group(dict(zip(chosen, values, strict=True)), members[values]) for values in sorted(members, key=_order)]
    return Grouping(chosen, over, groups, mixed)


def text(config: Mapping[str, Any], key: str) -> str:
    """A value as the command line would give it; ``-`` where the config has no such key."""
    value = config.get(key, _ABSENT)
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def label(values: Mapping[str, str]) -> str:
    """Names by themselves, other keys with their value."""
    shown = [value if key.endswith(".name") else f"{key.split('.')[-1]}={value}" for key, value in values.items()]
    return ", ".join(shown) or "all runs"


def _telling_apart(runs: Sequence[StudyRun], first: Sequence[str], over: str) -> list[str]:
    """``first``, then every further key that splits groups which would otherwise hold unlike runs."""
    flat = [relevant(run.config) for run in runs]
    details = dict.fromkeys(key for config in flat for key in config if not key.endswith("_target_"))
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


def _of_data(key: str) -> bool:
    return key.startswith("dataset.")


def _order(values: tuple[str, ...]) -> list[tuple[float, str]]:
    """Numbers by size, then words by the alphabet."""

    def place(value: str) -> tuple[float, str]:
        try:
            return float(value), value
        except ValueError:
            return math.inf, value

    return [place(value) for value in values]
