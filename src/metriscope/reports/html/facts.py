"""What the runs of a study were (data, network, budget, versions, commands), and every run with its values."""

import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from metriscope.reports.comparison import Comparison
from metriscope.reports.groups import text
from metriscope.reports.table_style import Style, Written
from metriscope.reports.tables import Shown, Table
from metriscope.run.study import Study, StudyRun

_VALUES = 12  # of one fact that are shown
_SEEDS = 60
_LONG = 600  # characters of a command
_PARTS = ("train", "validation", "test")


def state(study: Study, now: datetime | None = None) -> str:
    """When the page was written, and how many runs the study had then in which state."""
    now = now or datetime.now(timezone.utc)
    counts = Counter(run.status for run in study.runs)
    said = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    broken = f", {len(study.problems)} not counted" if study.problems else ""
    last = max((run.record.ended for run in study.runs if run.record.ended), key=datetime.fromisoformat, default=None)
    ended = f"; the last run ended {_time(datetime.fromisoformat(last))}" if last else ""
    return f"Written {_time(now)}. {len(study.runs)} runs: {said}{broken}{ended}."


def facts_table(study: Study) -> Table:
    """One row for each value of each fact, with the number of runs that have it, the most frequent first."""
    rows: list[list[Shown]] = []
    for name, fact in _FACTS.items():
        counts = Counter(fact(run) for run in study.runs)
        values = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        rows += [[Shown([name]), Shown([value]), Shown([str(count)])] for value, count in values[:_VALUES]]
        if len(values) > _VALUES:
            rest = sum(count for _, count in values[_VALUES:])
            rows.append([Shown([name]), Shown([f"and {len(values) - _VALUES} more"]), Shown([str(rest)])])
    seeds = sorted({text(run.config, "seed") for run in study.runs}, key=lambda seed: (len(seed), seed))
    said = ", ".join(seeds[:_SEEDS]) + (f" and {len(seeds) - _SEEDS} more" if len(seeds) > _SEEDS else "")
    rows.append([Shown(["seeds"]), Shown([said]), Shown([str(len(study.runs))])])
    return Table("", ["what", "value", "runs"], rows, 2)


def runs_table(comparison: Comparison, style: Style) -> Table:
    """Every run of the study, finished or not, in the order of its name, with the metrics of the style."""
    written = Written(comparison, style)
    by, over = comparison.grouping.by, comparison.grouping.over
    values = {run.name: group.values for group in comparison.grouping.groups for run in group.runs}
    keys = [*by, *(key for key in dict.fromkeys((over, "seed")) if key not in by)]
    rows = []
    for run in comparison.study.runs:
        known = values.get(run.name, {})
        cells = [written.named(key, known.get(key) or text(run.config, key)) for key in keys]
        cells += [run.status, run.name]
        values_of = [(metric, run.metrics.get(metric)) for metric in written.metrics]
        cells += ["-" if value is None else written.number(metric, value) for metric, value in values_of]
        cells += [_number(run.record.epochs), _number(run.record.seconds)]
        rows.append([Shown([cell]) for cell in cells])
    columns = [*map(written.key, keys), "status", "folder", *map(written.metric, written.metrics), "epochs", "seconds"]
    return Table("Every run, with the folder below that of the study.", columns, rows, len(keys) + 2)


def commands_table(study: Study) -> Table:
    """The command that each run was started with last."""
    rows = [[Shown([run.name]), Shown([_command(run)])] for run in study.runs]
    return Table("", ["folder", "command"], rows, 2)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _time(when: datetime) -> str:
    return f"{when.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _data(run: StudyRun) -> str:
    content: Any = (run.record.data or {}).get("content")
    parts: Any = content.get("parts") if isinstance(content, Mapping) else None
    said = []
    for name in _PARTS:
        sizes = parts.get(name) if isinstance(parts, Mapping) else None
        if isinstance(sizes, Sequence) and len(sizes) == 2 and all(isinstance(size, int) for size in sizes):
            said.append(f"{name}: {sizes[0]:,} in {sizes[1]:,} classes")
    return ", ".join([text(run.config, "dataset.name"), *said])


def _epochs(run: StudyRun) -> str:
    allowed, trained = text(run.config, "trainer.max_epochs"), run.record.epochs
    return f"{allowed} epochs" if trained is None or str(trained) == allowed else f"{trained} of {allowed} epochs"


def _versions(run: StudyRun) -> str:
    return ", ".join(f"{name} {version}" for name, version in run.record.versions.items()) or "-"


def _code(run: StudyRun) -> str:
    git = run.record.git or {}
    return f"commit {str(git.get('commit'))[:12]}{' with changes' if git.get('dirty') else ''}" if git else "-"


def _command(run: StudyRun) -> str:
    said = shlex.join(run.record.command) or "-"
    return said if len(said) <= _LONG else f"{said[:_LONG]}…"


def _listed(title: str, *keys: str) -> Callable[[StudyRun], str]:
    """The first key's value, then the others' with the last word of their key, those without a value left out."""

    def said(run: StudyRun) -> str:
        first, *rest = ((key, text(run.config, key)) for key in keys)
        more = [f"{key.rpartition('.')[2]}={value}" for key, value in rest if value not in ("-", "null", "None")]
        return f"{title}{', '.join([first[1], *more])}"

    return said


_FACTS: Mapping[str, Callable[[StudyRun], str]] = {
    "data": _data,
    "protocol": _listed(
        "",
        "dataset.protocol",
        "dataset.fold",
        "dataset.validation",
        "dataset.label_noise",
        "dataset.train_labels",
        "dataset.test_labels",
    ),
    "trunk": _listed("", "backbone.name", "backbone.weights", "backbone.freeze"),
    "head": _listed("", "head.name", "head.size", "head.kappa", "head.parts", "head.normalize"),
    "loss": _listed("", "loss.name"),
    "miner": _listed("", "miner.name"),
    "batch": _listed("", "sampler.batch_size", "sampler.classes_per_batch", "sampler.samples_per_class"),
    "budget": _epochs,
    "optimizer": _listed("", "optimizer.name", "optimizer.lr", "optimizer.weight_decay"),
    "schedule": _listed("", "scheduler.name", "scheduler.warmup_epochs"),
    "augmentation": _listed("", "augmentation.name", "augmentation.crop", "augmentation.flip"),
    "precision": _listed("", "trainer.precision"),
    "checkpoint": _listed("selected by ", "evaluation.monitor", "evaluation.mode"),
    "versions": _versions,
    "code": _code,
    "host": lambda run: run.record.host or "-",
}
