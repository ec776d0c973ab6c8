"""A fair comparison as its report reads it: definition, manifest, ledger, and repeats by entry. Imports no torch."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metriscope.config.evaluates import EVALUATES, ZERO_SHOT
from metriscope.errors import InputError
from metriscope.escapes import shown
from metriscope.reading import read_bytes
from metriscope.run.fair import DEFINITION, LEDGER, digest_of_ledger, is_fair, read_signed, sealed, without_seed
from metriscope.run.study import Study, StudyRun, load_study

COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"
ENTRY = "entry.name"
"""Key that the report adds to the config of each repeat: the entry that it is of."""
_BYTES = 2**24


@dataclass(frozen=True)
class Trial:
    """A line of the ledger.

    Attributes:
        trial: number within its entry; 0 is the default setting.
        params: what the search set.
        folds: the metric on each fold that was trained.
        value: mean over all folds; None unless the trial is complete.
        steps: of the optimizer up to the best epoch; None where it failed.
    """

    entry: str
    trial: int
    params: Mapping[str, Any]
    folds: Sequence[float]
    value: float | None
    status: str
    steps: float | None
    seconds: float


@dataclass(frozen=True)
class FairStudy:
    """A fair comparison.

    Attributes:
        folder: of the study.
        definition: what is compared and searched: the manifest's, or that of ``fair.json`` while there is none.
        manifest: None while the search is open.
        digest: SHA-256 of the ledger.
        trials: all trials, in the order of the ledger.
        runs: finished and unfinished repeats, with :data:`ENTRY` in their configs; None where there are none.
        zero_shot: the evaluation of the trunk without training; None where there is none.
        notes: one line for each thing that is missing or does not belong to this study.
        untuned: repeats of the default settings, as ``runs``; those of an entry whose default won are in both. None
            where the study does not repeat them.
    """

    folder: Path
    definition: Mapping[str, Any]
    manifest: Mapping[str, Any] | None
    digest: str
    trials: Sequence[Trial]
    runs: Study | None
    zero_shot: Study | None
    notes: Sequence[str]
    untuned: Study | None = None

    @property
    def entries(self) -> list[str]:
        """Names of the entries, in the order of the definition."""
        return [str(entry["name"]) for entry in self.definition["entries"]]

    @property
    def metric(self) -> str:
        """The logged key that the search went by."""
        return str(self.definition["metric"])

    @property
    def sign(self) -> int:
        """1 if higher is better in the search, -1 if lower is."""
        return 1 if self.definition["mode"] == "max" else -1

    @property
    def tested(self) -> str:
        """The same metric on test classes."""
        return f"test/{self.metric.rpartition('/')[2]}"

    def of(self, entry: str) -> list[Trial]:
        """The trials of an entry."""
        return [trial for trial in self.trials if trial.entry == entry]

    def space(self, entry: str) -> dict[str, str]:
        """The range of each searched key of an entry, as a command line writes it."""
        return {str(key): str(word) for key, word in (self.definition.get("spaces", {}).get(entry) or {}).items()}

    def winner(self, entry: str) -> Mapping[str, Any] | None:
        """What the manifest says of the best trial of an entry; None while the search is open."""
        winners = (self.manifest or {}).get("winners", ())
        return next((one for one in winners if one.get("entry") == entry), None)

    def best(self, entry: str) -> Trial | None:
        """The best complete trial of an entry in the ledger, the first of equal ones; None where none is complete."""
        whole = [trial for trial in self.of(entry) if trial.status == COMPLETE and trial.value is not None]
        return max(whole, key=lambda trial: (self.sign * (trial.value or 0.0), -trial.trial), default=None)


def read_fair(folder: Path) -> FairStudy:
    """Read a fair comparison; while it searches there are no repeats, and a note says so.

    Raises:
        InputError: the folder is none of a fair comparison, or one of its files cannot be read or was edited.
    """
    if not is_fair(folder):
        raise InputError(f"{folder} holds no {DEFINITION}: give the folder of a study by metriscope fair")
    manifest = sealed(folder)
    definition = read_signed(folder / DEFINITION) if manifest is None else manifest
    trials = _trials(folder / LEDGER)
    study = FairStudy(folder, definition, manifest, digest_of_ledger(folder), trials, None, None, ())
    if manifest is None:
        return replace(study, notes=["the search is not closed: nothing was tested, and there is no manifest yet"])
    try:
        found = load_study(folder)
    except InputError as error:
        return replace(study, notes=[f"no repeats: {error}"])
    won, default = (
        {str(one["config"]): str(one["entry"]) for one in manifest.get(key, ())} for key in ("winners", "untuned")
    )
    return _with_runs(study, found, won, default)


def _with_runs(study: FairStudy, found: Study, winners: Mapping[str, str], defaults: Mapping[str, str]) -> FairStudy:
    """The study with its repeats, each with its entry; runs that are none of its own become notes.

    Args:
        winners: entry of each config, seed aside.
        defaults: the same of the default settings, where these are repeated.
    """
    known: list[StudyRun] = []
    untuned: list[StudyRun] = []
    zero: list[StudyRun] = []
    problems = list(found.problems)
    for run in found.runs:
        if run.config.get(EVALUATES) == ZERO_SHOT:
            zero.append(_named(run, ZERO_SHOT))
            continue
        config = without_seed(run.config)
        known += [_named(run, winners[config])] if config in winners else []
        untuned += [_named(run, defaults[config])] if config in defaults else []
        if config not in winners and config not in defaults:
            problems.append(f"{run.name} is no repeat of any entry of this study; left out")
    runs = replace(found, runs=known, problems=problems)
    notes = [] if runs.finished else ["no repeats: none has finished"]
    return replace(
        study, runs=runs, zero_shot=Study(found.name, zero) if zero else None, notes=notes,
        untuned=replace(found, runs=untuned) if defaults else None,
    )  # fmt: skip


def _named(run: StudyRun, entry: str) -> StudyRun:
    return replace(run, config={**run.config, ENTRY: shown(entry)})


def _trials(path: Path) -> list[Trial]:
    try:
        rows = list(csv.DictReader(io.StringIO(read_bytes(path, _BYTES).decode(), newline=""), strict=True))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): restore it") from error
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV ({error}): restore it") from error
    found = []
    for number, row in enumerate(rows, start=2):
        try:
            found.append(_trial(row))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}, line {number} is no trial ({type(error).__name__}: {error}): restore it"
            ) from error
    return found


def _trial(row: Mapping[str, str]) -> Trial:
    folds = [_finite(text) for key, text in row.items() if key.startswith("fold_") and text]
    params = json.loads(row["params"])
    if not isinstance(params, dict) or row["status"] not in (COMPLETE, PRUNED, FAILED):
        raise ValueError(f"status {row['status']}, params {row['params']}")
    value = _finite(row["value"]) if row["status"] == COMPLETE else None
    steps = float(row["steps"]) if row["steps"] else None
    return Trial(
        row["entry"], int(row["trial"]), params, folds, value, row["status"], steps, _finite(row["seconds"] or "0")
    )


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value
