"""The search of a fair comparison: trials of one entry in order, entries side by side."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, Timeout

from metriscope import seeds
from metriscope.config.rules import check
from metriscope.errors import InputError
from metriscope.evaluation.monitors import Monitor
from metriscope.fair.folds import Result, trial
from metriscope.fair.locks import TURN_SECONDS, lock_of_entry, locked
from metriscope.fair.proposal import propose
from metriscope.fair.spaces import Compose, Search, trial_words
from metriscope.fair.standing import counts
from metriscope.fair.words import Asked
from metriscope.fair.workers import Died, Task, Workers
from metriscope.run import ledger
from metriscope.run.fair import LEDGER
from metriscope.run.identity import identity
from metriscope.run.ledger import FAILED, Row, best_of

_HASH = 16


class Searching:
    """All trials of a comparison, those of an earlier invocation included.

    Args:
        folder: of the study.
        asked, searches, goal: what is compared.
        compose: from the words of a run to its config.

    Raises:
        InputError: the ledger in the folder is of another study.
    """

    def __init__(self, folder: Path, asked: Asked, searches: Sequence[Search], goal: Monitor, compose: Compose) -> None:
        self.folder, self.asked, self.goal = folder, asked, goal
        self.searches = {search.entry.name: search for search in searches}
        self._compose = compose
        self._hashes: dict[tuple[str, str], str] = {}
        self.rows: dict[str, list[Row]] = {}
        self.read()

    def read(self) -> None:
        """Take over the trials of other processes that work on the same study.

        Raises:
            InputError: the ledger is of another study.
        """
        self.rows = {name: [] for name in self.searches}
        for row in ledger.read(self.folder, self.asked.folds):
            self._check(row)
            self.rows[row.entry].append(row)

    def _check(self, row: Row) -> None:
        rows = self.rows.get(row.entry)
        what = None
        if rows is None:
            what = f"entry {row.entry}"
        elif row.trial != len(rows) or row.trial >= self.asked.trials:
            what = f"trial {row.trial} of {row.entry}"
        elif row.seed != self.seed(row.trial):
            what = f"seed {row.seed}"
        elif row.params.keys() != self.searches[row.entry].space.keys():
            what = f"parameters {', '.join(row.params)} of {row.entry}"
        elif row.trial == 0 and row.config != self._first(row):
            what = f"another config of {row.entry}"
        if what is not None:
            raise InputError(f"{self.folder / LEDGER} is of another study, with {what}: restore it, or set another")

    def _first(self, row: Row) -> str:
        """The hash of the config that a first trial has, computed once for all times that the ledger is read."""
        key = row.entry, json.dumps(dict(row.params), sort_keys=True)
        if key not in self._hashes:
            self._hashes[key] = _hash(self._config(row.entry, row.params, row.trial), self.asked.folds)
        return self._hashes[key]

    def seed(self, number: int) -> int:
        """Of the runs of a trial, the same for all entries."""
        return seeds.derive(self.asked.seed, "fair trial", number) % 2**31

    def _config(self, entry: str, params: Mapping[str, Any], number: int) -> dict[str, Any]:
        words = (*trial_words(self.searches[entry], params), f"seed={self.seed(number)}")
        return check(self._compose(words))

    @property
    def everything(self) -> list[Row]:
        """All trials, by entry and number."""
        return [row for rows in self.rows.values() for row in rows]

    @property
    def to_do(self) -> list[str]:
        """Entries that lack trials, those with the fewest first, so that all end at about the same time."""
        lacking = [name for name, rows in self.rows.items() if len(rows) < self.asked.trials]
        return sorted(lacking, key=lambda name: len(self.rows[name]))

    def carry_out(self, workers: Workers, say: Callable[[str], None] = print) -> None:
        """Run the trials that are missing, until none is; the ledger is written after each.

        Other processes may do the same: each entry is with one of them at a time, and its next trial follows from its
        trials so far, so that the ledger is that of one process.

        Args:
            workers: that train.
            say: gets a line for each trial.

        Raises:
            RunError: disk or memory are not enough.
            KeyboardInterrupt: a signal asked to stop; the trials at work are lost.
        """
        locks: dict[str, BaseFileLock] = {}
        at_work: dict[str, tuple[int, Mapping[str, Any], str]] = {}

        def next_task() -> Task[str] | None:
            for name in self.to_do:
                if name not in locks and (lock := self._take(name)) is not None:
                    locks[name] = lock
                    task, at_work[name] = self._next(name)
                    return task
            return None

        try:
            while self.to_do:
                for name, result in workers.run(next_task):
                    number, params, config = at_work.pop(name)
                    if isinstance(result, Died):
                        result = Result((), None, FAILED, None, 0.0, "its process died twice, as from a lack of memory")
                    row = Row(
                        name, number, self.seed(number), config, params, result.folds, result.value, result.status,
                        result.steps, result.seconds,
                    )  # fmt: skip
                    with locked(self.folder):
                        self.read()
                        self.rows[name].append(row)
                        ledger.write(self.folder, self.everything, self.asked.folds)
                    locks.pop(name).release()
                    say(self._line(row, result.reason))
                if self.to_do:  # others are at work on the rest
                    time.sleep(TURN_SECONDS)
                    self.read()
        finally:
            for lock in locks.values():
                lock.release()

    def _take(self, name: str) -> BaseFileLock | None:
        """The lock of an entry that lacks a trial; None where another process holds it, or has done the last trial."""
        lock = lock_of_entry(self.folder, list(self.searches).index(name))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        self.read()
        if name in self.to_do:
            return lock
        lock.release()
        return None

    def _next(self, name: str) -> tuple[Task[str], tuple[int, Mapping[str, Any], str]]:
        """The next trial of an entry: the task, and its number, what it sets, and the hash of its config."""
        rows, search = self.rows[name], self.searches[name]
        number = len(rows)
        params = propose(
            name, search.space, search.default, rows, sampler=self.asked.sampler, trials=self.asked.trials,
            seed=self.asked.seed, mode=self.goal.mode,
        )  # fmt: skip
        config = self._config(name, params, number)
        best = best_of(rows, self.goal.mode)
        arguments = (config, self.asked.folds, self.goal, best.folds if best else None, self.asked.prune)
        return Task(name, (trial, arguments)), (number, params, _hash(config, self.asked.folds))

    def _line(self, row: Row, reason: str | None) -> str:
        best = best_of(self.rows[row.entry], self.goal.mode)
        value = f"{row.value:.4f}" if row.value is not None else row.status
        behind = f" (best {best.value:.4f}, trial {best.trial})" if best and best.value is not None else ""
        why = f": {reason}" if reason else ""
        return f"{row.entry} trial {row.trial}: {value}{why}{behind} {row.seconds:.1f} s"

    def summary(self) -> str:
        """As :func:`metriscope.fair.standing.counts`."""
        return counts(self.everything, len(self.searches), self.asked.trials)


def _hash(config: Mapping[str, Any], folds: int) -> str:
    """Of the config of a trial's first fold."""
    return identity({**config, "dataset": {**config["dataset"], "fold": 0, "validation": 1 / folds}})[:_HASH]
