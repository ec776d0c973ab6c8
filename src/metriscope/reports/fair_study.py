"""A fair comparison as its report reads it: definition, manifest, ledger, and repeats by entry. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metriscope.config.evaluates import EVALUATES, ZERO_SHOT
from metriscope.errors import InputError
from metriscope.escapes import shown
from metriscope.run.fair import (
    DEFINITION,
    digest_of_ledger,
    entries_by_config,
    is_fair,
    read_signed,
    sealed,
    without_seed,
)
from metriscope.run.ledger import Row, best_of
from metriscope.run.ledger import read as read_ledger
from metriscope.run.study import Study, StudyRun, load_study

ENTRY = "entry.name"
"""Key that the report adds to the config of each repeat: the entry that it is of."""


@dataclass(frozen=True)
class FairStudy:
    """A fair comparison.

    Attributes:
        folder: of the study.
        definition: what is compared and searched: the manifest's, or that of ``fair.json`` while there is none.
        manifest: None while the search is open.
        digest: SHA-256 of the ledger without its times.
        trials: all trials, in the order of the ledger.
        runs: finished and unfinished runs of repeats, with :data:`ENTRY` in their configs; None where there are none.
        zero_shot: the evaluation of the trunk without training; None where there is none.
        notes: one line for each thing that is missing or does not belong to this study.
        untuned: repeats of the default settings, as ``runs``; those of an entry whose default won are in both. None
            where the study does not repeat them.
    """

    folder: Path
    definition: Mapping[str, Any]
    manifest: Mapping[str, Any] | None
    digest: str
    trials: Sequence[Row]
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
    def of_folds(self) -> bool:
        """Whether a repeat is a model for each fold, and not one for all training classes."""
        return self.definition.get("models") == "folds"

    @property
    def sign(self) -> int:
        """1 if higher is better in the search, -1 if lower is."""
        return 1 if self.definition["mode"] == "max" else -1

    @property
    def tested(self) -> str:
        """The same metric on test classes."""
        return f"test/{self.metric.rpartition('/')[2]}"

    def of(self, entry: str) -> list[Row]:
        """The trials of an entry."""
        return [trial for trial in self.trials if trial.entry == entry]

    def space(self, entry: str) -> dict[str, str]:
        """The range of each searched key of an entry, as a command line writes it."""
        return {str(key): str(word) for key, word in (self.definition.get("spaces", {}).get(entry) or {}).items()}

    def winner(self, entry: str) -> Mapping[str, Any] | None:
        """What the manifest says of the best trial of an entry; None while the search is open."""
        winners = (self.manifest or {}).get("winners", ())
        return next((one for one in winners if one.get("entry") == entry), None)

    def best(self, entry: str) -> Row | None:
        """The best complete trial of an entry in the ledger, the first of equal ones; None where none is complete."""
        return best_of(self.of(entry), str(self.definition["mode"]))


def read_fair(folder: Path) -> FairStudy:
    """Read a fair comparison; while it searches there are no repeats, and a note says so.

    Raises:
        InputError: the folder is none of a fair comparison, or one of its files cannot be read or was edited.
    """
    if not is_fair(folder):
        raise InputError(f"{folder} holds no {DEFINITION}: give the folder of a study by metriscope fair")
    manifest = sealed(folder)
    definition = read_signed(folder / DEFINITION) if manifest is None else manifest
    trials = read_ledger(folder, definition["folds"])
    study = FairStudy(folder, definition, manifest, digest_of_ledger(folder), trials, None, None, ())
    if manifest is None:
        return replace(study, notes=["the search is not closed: nothing was tested, and there is no manifest yet"])
    try:
        found = load_study(folder)
    except InputError as error:
        return replace(study, notes=[f"no repeats: {error}"])
    return _with_runs(study, found, entries_by_config(manifest), entries_by_config(manifest, "untuned"))


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
