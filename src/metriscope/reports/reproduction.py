"""An experiment as a folder: tables, claims with verdicts, figures, conditions of the runs. Imports no torch."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from metriscope.annotations import said
from metriscope.config.evaluates import EVALUATES
from metriscope.errors import InputError
from metriscope.escapes import for_csv, for_markdown, shown
from metriscope.evaluation.metrics import HEADLINES, logged
from metriscope.files import folder_in, replacing
from metriscope.reports.claims import Finding, Judgement, Statement, judge
from metriscope.reports.comparison import Comparison, compare
from metriscope.reports.experiments import Experiment
from metriscope.reports.groups import text
from metriscope.reports.history_metrics import with_course
from metriscope.reports.sides import EXPLAINED, Side
from metriscope.reports.table_formats import markdown_tables, write_tables
from metriscope.reports.table_style import Written
from metriscope.run.record import FINISHED
from metriscope.run.study import Study, StudyRun

_NEEDED = (
    "dataset.name",
    "loss.name",
    "seed",
    "dataset.protocol",
    "backbone.name",
    "sampler.batch_size",
    "head.size",
    "trainer.max_epochs",
)


def write_reproduction(
    study: Study, experiment: Experiment, folder: Path, command: str, missing: Sequence[str] = ()
) -> list[Judgement]:
    """Write tables (CSV, Markdown, LaTeX, JSON), figures, ``claims.json``, ``runs.csv``, and ``README.md``.

    Args:
        study: runs of the study; unfinished runs are named and left out.
        command: command that made the runs.
        missing: one line for each data set that was not available.

    Returns:
        the judgements of the claims.

    Raises:
        InputError: no run has finished.
        OSError: the folder cannot be written.
    """
    whole = with_courses(study)
    judgements = [judge(claim, whole.finished) for claim in experiment.claims]
    by = [key for key in experiment.by if any(key in run.config for run in whole.finished)]
    tables, figures = write_compared(whole, by, experiment, folder)
    write_text(folder / "claims.json", json.dumps([plain_judgement(one) for one in judgements], indent=2) + "\n")
    write_text(folder / "README.md", _page(whole, experiment, tables, judgements, command, missing, figures))
    return judgements


def write_compared(
    study: Study, by: Sequence[str], experiment: Experiment, folder: Path
) -> tuple[dict[str, Comparison], list[str]]:
    """Write the tables and figures of an experiment, and ``runs.csv``.

    Args:
        study: with the metrics of the runs' histories.
        by: the config keys that separate its groups.

    Returns:
        the tables by name, and the paths of the figures that a page shows, below the folder.

    Raises:
        InputError: no run has finished.
        OSError: the folder cannot be written.
    """
    from metriscope.reports.study_figures import write_figures

    there = {metric for run in study.finished for metric in run.metrics}
    tables = {}
    for name, metrics in experiment.tables.items():
        found = [metric for metric in metrics if metric in there]
        if found:
            tables[name] = compare(study, by, found, experiment.baseline)
            write_tables(tables[name], folder_in(folder, name))
    shown = [metric for metric in logged("test", *HEADLINES) if metric in there]
    metrics = list(dict.fromkeys(metric for table in tables.values() for metric in table.metrics))
    figures = [
        *_along(compare(study, by, metrics), experiment.along, folder / "figures"),
        *write_figures(compare(study, by, shown), folder / "figures"),
    ]
    write_text(folder / "runs.csv", _runs_csv(study, by, metrics))
    return tables, _below(figures, folder)


def _along(comparison: Comparison, key: str | None, folder: Path) -> list[Path]:
    """The figure along a setting, if there is one to draw."""
    from metriscope.reports.setting_figures import along_setting
    from metriscope.reports.style import guarded, save_as

    def write() -> list[Path]:
        figure = along_setting(Written(comparison), key or "")
        return [] if figure is None else save_as(figure, folder / "along", ("png", "svg"))

    return [] if key is None else guarded("along", write) or []


def with_courses(study: Study) -> Study:
    """The study without evaluations, with the metrics of every run's history.

    A run that lacks what is told of it becomes a problem.
    """
    runs: list[StudyRun] = []
    problems = list(study.problems)
    for run in study.runs:
        if run.config.get(EVALUATES):
            continue
        absent = [key for key in _NEEDED if key not in run.config]
        if absent:
            problems.append(f"{run.name} has no {absent[0]} in its config; left out")
            continue
        try:
            runs.append(with_course(run) if run.status == FINISHED else run)
        except InputError as error:
            problems.append(shown(f"{error}; left out"))
    return replace(study, runs=runs, problems=problems)


def claims_markdown(judgements: Sequence[Judgement]) -> str:
    """Each claim with its verdict and a table of its findings."""
    parts = []
    for judgement in judgements:
        claim = judgement.claim
        parts += [f"### Claim {claim.number} ({claim.source}): {judgement.verdict}\n", f"{claim.text}\n"]
        rows = [_finding_row(finding) for finding in judgement.findings]
        head = ("statement", "data set", "verdict", "difference", "95 % interval", "g_z", "n")
        parts.append(plain_table(head, rows))
    return "\n".join(parts)


def _finding_row(finding: Finding) -> list[str]:
    return [*statement_cells(finding), *verdict_cells(finding)]


def statement_cells(finding: Finding) -> list[str]:
    """What is judged, and on which data."""
    metrics = ", ".join(f"`{metric}`" for metric in dict.fromkeys(finding.statement.metrics))
    return [f"{finding.statement.text} ({metrics})", for_markdown(finding.data)]


def verdict_cells(finding: Finding) -> list[str]:
    """Verdict, difference, 95 % interval, g_z and n."""
    found = finding.difference
    words = [f"**{finding.verdict}**" + (f" ({finding.reason})" if finding.reason else "")]
    if found is None:
        return [*words, "-", "-", "-", "0"]
    interval = "-" if found.interval is None else f"[{found.interval[0]:.4g}, {found.interval[1]:.4g}]"
    effect = "-" if found.effect is None else f"{found.effect:+.2f}"
    return [*words, f"{found.mean:+.4g}", interval, effect, str(found.n)]


def _page(
    study: Study,
    experiment: Experiment,
    tables: Mapping[str, Comparison],
    judgements: Sequence[Judgement],
    command: str,
    missing: Sequence[str],
    figures: Sequence[str],
) -> str:
    notes = dict.fromkeys(note for table in tables.values() for note in table.notes)
    parts = [
        f"# {experiment.title} ({experiment.source})\n",
        *([f"{experiment.about}\n"] if experiment.about else []),
        f"{len(study.finished)} runs, {_minutes(study)} in all. Made by:\n\n```console\n{command}\n```\n",
        *(f"> **Note:** {line}\n" for line in (*missing, *map(for_markdown, notes))),
        f"{circumstances(study)}\n",
        "## Claims\n",
        f"{explained(judgements)}\n",
        claims_markdown(judgements),
    ]
    for name, table in tables.items():
        parts += [f"## {name.capitalize()}\n", markdown_tables(table)]
    parts += ["## Figures\n"] * bool(figures) + [f"![{Path(name).stem}]({name})\n" for name in figures]
    return "\n".join(parts)


def explained(judgements: Sequence[Judgement]) -> str:
    """How statements and claims are judged, as far as these need it."""
    statements = [statement for judgement in judgements for statement in judgement.claim.statements]
    sides = [side for one in statements for side in (one.higher, one.lower) if isinstance(side, Side)]
    kinds = {side.how for side in sides if len(side.cells) > 1}
    words = [
        "A statement holds where the 95 % t interval of its difference, paired over seeds, lies above 0, and does not "
        "hold where it lies below; g_z is the difference in standard deviations (Hedges).",
        *(sentence for how, sentence in EXPLAINED.items() if how in kinds),
        "A claim holds if all of its statements hold on all data sets. The runs behind each are in `claims.json`, the "
        "figures of every run in `runs.csv`.",
    ]
    return " ".join(words)


def _minutes(study: Study) -> str:
    seconds = sum(run.record.seconds or 0 for run in study.finished)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _runs_csv(study: Study, by: Sequence[str], metrics: Sequence[str]) -> str:
    """A line for every run: its settings, its seed and its figures."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(map(for_csv, ("run", *by, "seed", *metrics)))
    for run in study.finished:
        settings = [text(run.config, key) for key in (*by, "seed")]
        figures = [run.metrics.get(metric, "") for metric in metrics]
        writer.writerow(map(for_csv, (run.name, *settings, *figures)))
    return lines.getvalue()


def circumstances(study: Study) -> str:
    """Protocols, budgets, versions and time, from the records of the runs."""
    lines = []
    for name in sorted({run.config["dataset.name"] for run in study.finished}):
        runs = [run for run in study.finished if run.config["dataset.name"] == name]
        config = runs[0].config
        protocol = str(config["dataset.protocol"]).replace("_", " ")
        seconds = sum(run.record.seconds or 0 for run in runs) / len(runs)
        lines.append(
            f"{name}: {protocol}, {config['backbone.name']}, {_epochs(runs)} epochs, batch "
            f"{_each(runs, 'sampler.batch_size')}, {config['head.size']}-d, {seconds:.0f} s per run"
        )
    versions = study.finished[0].record.versions
    lines.append(f"versions: {', '.join(f'{name} {version}' for name, version in versions.items())}")
    return "\n".join(f"- {for_markdown(line)}" for line in lines)


def _each(runs: Sequence[StudyRun], key: str) -> str:
    """The values of a setting, such as ``16, 64, 256``."""
    return ", ".join(map(said, sorted({run.config[key] for run in runs})))


def _epochs(runs: Sequence[StudyRun]) -> str:
    """``30``, or ``6 to 30`` where some stopped early."""
    numbers = [r.config["trainer.max_epochs"] if r.record.epochs is None else r.record.epochs for r in runs]
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def plain_judgement(judgement: Judgement) -> dict[str, Any]:
    """A judgement as plain values for JSON."""
    claim = judgement.claim
    findings = [
        {
            "statement": _plain_statement(finding.statement),
            "data": finding.data,
            "verdict": finding.verdict,
            "reason": finding.reason,
            "difference": None if finding.difference is None else asdict(finding.difference),
            "runs": list(finding.runs),
        }
        for finding in judgement.findings
    ]
    head = {"claim": claim.number, "source": claim.source, "text": claim.text, "verdict": judgement.verdict}
    return {**head, "findings": findings}


def _plain_statement(statement: Statement) -> dict[str, Any]:
    """A statement without what it does not say."""
    return {key: value for key, value in asdict(statement).items() if value or key not in ("beside", "data")}


def plain_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown from cells in Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"


def _below(paths: Sequence[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths if path.suffix == ".png"]


def write_text(path: Path, text: str) -> None:
    """Replace a file of text."""
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
