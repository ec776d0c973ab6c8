"""An experiment on tuned losses: claims decided on the winners beside those on default settings. Imports no torch."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metriscope.escapes import for_markdown
from metriscope.files import folder_in
from metriscope.reports.claims import Finding, Judgement, judge
from metriscope.reports.comparison import Comparison
from metriscope.reports.experiments import Experiment
from metriscope.reports.fair_search import (
    Search,
    expected_best_figure,
    expected_best_rows,
    search_rows,
    search_table,
    searches,
    winners_table,
)
from metriscope.reports.fair_study import FairStudy
from metriscope.reports.reproduction import (
    circumstances,
    explained,
    plain_judgement,
    plain_table,
    statement_cells,
    verdict_cells,
    with_courses,
    write_compared,
    write_text,
)
from metriscope.reports.style import guarded, save_as
from metriscope.reports.table_formats import csv_text, markdown_table, markdown_tables
from metriscope.run.fair import LEDGER, MANIFEST
from metriscope.run.record import duration
from metriscope.run.study import Study, StudyRun

SETTING = "setting.name"
"""Key that the report adds to the config of each run: :data:`TUNED` or :data:`UNTUNED`."""
TUNED, UNTUNED = "tuned", "untuned"


@dataclass(frozen=True)
class Decided:
    """A claim, decided twice."""

    tuned: Judgement
    untuned: Judgement

    @property
    def line(self) -> str:
        """Both verdicts, in short."""
        return f"{TUNED} {self.tuned.verdict}, {UNTUNED} {self.untuned.verdict}"


def write_tuned(
    studies: Mapping[str, FairStudy], experiment: Experiment, folder: Path, command: str, notes: Sequence[str] = ()
) -> list[Decided]:
    """Write ``README.md``, ``claims.json``, tables, figures, ``runs.csv``, and manifest and ledger of each search.

    Args:
        studies: a fair comparison of each data set, by its name, with winners and default settings repeated.
        command: command that made the runs.
        notes: one line for each thing that is missing.

    Returns:
        the claims, decided.

    Raises:
        InputError: no repeat has finished.
        OSError: the folder cannot be written.
    """
    whole = with_courses(_together(studies))
    decided = [
        Decided(*(judge(claim, _of(whole, setting)) for setting in (TUNED, UNTUNED))) for claim in experiment.claims
    ]
    tables, figures = write_compared(whole, [*experiment.by, SETTING], experiment, folder)
    found = {name: searches(study)[0] for name, study in studies.items()}
    both = {key: [plain_judgement(getattr(one, key)) for one in decided] for key in (TUNED, UNTUNED)}
    write_text(folder / "claims.json", json.dumps(both, indent=2) + "\n")
    for file, rows in (("expected_best.csv", expected_best_rows), ("search.csv", search_rows)):
        write_text(folder / file, csv_text([{"data": name, **row} for name, own in found.items() for row in rows(own)]))
    for name, study in studies.items():
        own = folder_in(folder_in(folder, "search"), name)
        for file in (MANIFEST, LEDGER):
            shutil.copyfile(study.folder / file, own / file)
    page = [
        *_head(whole, studies, experiment, command, [*notes, *_notes(studies, tables)]),
        *_claims(decided),
        *_searches(studies, found, folder),
        *(line for name, table in tables.items() for line in (f"## {name.capitalize()}\n", markdown_tables(table))),
        *["## Figures\n"] * bool(figures),
        *(f"![{Path(name).stem}]({name})\n" for name in figures),
    ]
    write_text(folder / "README.md", "\n".join(page))
    return decided


def _together(studies: Mapping[str, FairStudy]) -> Study:
    """All repeats of all data sets; a default setting that won is there twice, once as each."""
    runs: list[StudyRun] = []
    problems: list[str] = []
    for data, study in studies.items():
        for setting, own in ((TUNED, study.runs), (UNTUNED, study.untuned)):
            for run in own.runs if own else ():
                runs.append(replace(run, name=f"{data}/{run.name}", config={**run.config, SETTING: setting}))
        problems += study.runs.problems if study.runs else study.notes
    return Study(", ".join(studies), runs, problems)


def _of(study: Study, setting: str) -> list[StudyRun]:
    return [run for run in study.finished if run.config[SETTING] == setting]


def _notes(studies: Mapping[str, FairStudy], tables: Mapping[str, Comparison]) -> list[str]:
    """What a reader has to know first: data sets without some repeats, and the cautions of the tables."""
    lines = []
    for name, study in studies.items():
        asked = study.definition["repeats"] * len(study.entries)
        for setting, own in ((TUNED, study.runs), (UNTUNED, study.untuned)):
            there = len(own.finished) if own else 0
            if there < asked:
                lines.append(f"{name}: {there} of {asked} {setting} repeats have finished")
    return [*lines, *dict.fromkeys(note for table in tables.values() for note in table.notes)]


def _head(
    whole: Study, studies: Mapping[str, FairStudy], experiment: Experiment, command: str, notes: Sequence[str]
) -> list[str]:
    each = {run.name: run.record.seconds or 0.0 for run in whole.finished}
    trials = [trial for study in studies.values() for trial in study.trials]
    rows = [
        [for_markdown(name), *map(for_markdown, _subset(study)), *_budget(study), f"`{(study.manifest or {})['hash']}`"]
        for name, study in studies.items()
    ]
    columns = ("data set", "samples", "overrides", "trials", "folds", "repeats", "manifest")
    return [
        f"# {experiment.title}, tuned ({experiment.source})\n",
        *([f"{experiment.about}\n"] if experiment.about else []),
        "Every loss was tuned alike on folds of the training data, the search was closed, and only then were the "
        "winners and the default settings trained on all training data of the table, with the same seeds, and "
        "tested.\n",
        f"{len(trials)} trials, {duration(sum(trial.seconds for trial in trials))} of work in all, and {len(each)} "
        f"runs, {duration(sum(each.values()))}. Made by:\n\n```console\n{command}\n```\n",
        plain_table(columns, rows),
        "A run takes the steps of the best epochs of its own trial, the untuned one those of trial 0. The hash of the "
        "manifest stands in the record of every run; manifest and ledger lie in `search/`.\n",
        f"{circumstances(whole)}\n",
        *(f"> **Note:** {for_markdown(note)}\n" for note in notes),
    ]


def _subset(study: FairStudy) -> list[str]:
    """How many samples there are to train and to test, and what the study says of its runs, in words."""
    parts: Mapping[str, Any] = study.definition["data"].get("parts", {})
    sizes = [f"{what} {parts[what][0]:,}" for what in ("train", "test") if what in parts]
    fixed = [word for word in study.definition["fixed"] if not word.startswith(("experiment=", "scale=", "dataset="))]
    return [", ".join(sizes), " ".join(fixed) or "-"]


def _budget(study: FairStudy) -> list[str]:
    return [str(study.definition[key]) for key in ("trials", "folds", "repeats")]


def _claims(decided: Sequence[Decided]) -> list[str]:
    """Each claim with a table of both verdicts on each statement and data set."""
    parts = ["## Claims\n", f"{explained([one.tuned for one in decided])}\n"]
    figures = ("difference", "95 % interval", "g_z", "n")
    columns = ("statement", "data set", TUNED, *figures, UNTUNED, *figures)
    for one in decided:
        claim = one.tuned.claim
        other = {_about(finding): finding for finding in one.untuned.findings}
        rows = []
        for finding in one.tuned.findings:
            beside = other.get(_about(finding))
            rest = verdict_cells(beside) if beside else ["-"] * 5
            rows.append([*statement_cells(finding), *verdict_cells(finding), *rest])
        parts += [f"### Claim {claim.number} ({claim.source}): {one.line}\n", f"{claim.text}\n"]
        parts += [plain_table(columns, rows)]
    return parts


def _about(finding: Finding) -> tuple[str, ...]:
    """What a finding is about, whatever its verdict."""
    return finding.statement.text, finding.statement.metric, finding.data


def _searches(studies: Mapping[str, FairStudy], found: Mapping[str, Sequence[Search]], folder: Path) -> list[str]:
    """What tuning gave on each data set, and what won."""
    parts = ["## What won, and the price of tuning\n"]
    for name, study in studies.items():
        own = found[name]
        if not own:
            continue
        parts += [f"### {for_markdown(name)}\n", markdown_table(search_table(study, own))]
        if any(one.best.params for one in own):
            parts += [markdown_table(winners_table(study, own))]

        def draw(study: FairStudy = study, own: Sequence[Search] = own, name: str = name) -> list[Path]:
            figure = expected_best_figure(study, own, name)
            place = folder_in(folder, "figures") / f"expected_best_{name}"
            return [] if figure is None else save_as(figure, place, ("png", "svg"))

        drawn = guarded(f"expected_best_{name}", draw) or []
        pictures = [path.relative_to(folder).as_posix() for path in drawn if path.suffix == ".png"]
        parts += [f"![expected best on {for_markdown(name)}]({path})\n" for path in pictures]
    return parts
