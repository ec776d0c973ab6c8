"""Warnings about a comparison, such as runs left out or settings that differ, one line each."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from metriscope.config.evaluates import EVALUATES
from metriscope.reports.groups import Grouping, text
from metriscope.run.record import PRUNED
from metriscope.run.study import Study, StudyRun

_EPOCHS = "trainer.max_epochs"
# Config keys that should be equal in compared runs [MLRC], by the word for them.
_EQUAL: Mapping[str, Sequence[str]] = {
    "backbone": ("backbone.name", "backbone.weights", "backbone.freeze"),
    "embedding size": ("head.size",),
    "batch": ("sampler.batch_size", "sampler.classes_per_batch", "sampler.samples_per_class"),
    "budget": (_EPOCHS, "trainer.limit_train_batches", "dataset.train_share"),
    "augmentation": ("augmentation.*",),
    "protocol": ("dataset.protocol", "dataset.validation"),
    "precision": ("trainer.precision",),
}
# Of these, what is of training alone, and so of no evaluation.
_TRAINED = ("backbone.freeze", *_EQUAL["batch"], *_EQUAL["budget"])
_NAMED = 20


def cautions(study: Study, grouping: Grouping) -> list[str]:
    """One line for each: runs left out, settings that differ but should not, and keys that groups mix."""
    runs = [run for group in grouping.groups for run in group.runs]
    unfair = [*_incomplete(runs), *_unequal(runs, grouping), *_versions(runs)]
    return [*left_out(study), *unfair, *_mixed(grouping), *_single(grouping)]


def left_out(study: Study) -> list[str]:
    """One line for each run that cannot be read or has not finished, pruned runs included."""
    return [*_first(list(study.problems)), *_first([_unfinished(run) for run in study.unfinished])]


def _incomplete(runs: Sequence[StudyRun]) -> list[str]:
    """One line for each data set of which images were missing."""
    facts = [run.record.data or {} for run in runs]
    said = Counter(str(data["incomplete"]) for data in facts if data.get("incomplete"))
    return [f"{_short(line)} ({n} {'run' if n == 1 else 'runs'}, dataset.verify=false)" for line, n in said.items()]


def _unfinished(run: StudyRun) -> str:
    why = f": {_short(run.reason)}" if run.reason else ""
    if run.status == PRUNED:
        return f"{run.name} was pruned by its search{why}; left out"
    return f"{run.name} is not finished ({run.status}{why}); left out"


def _unequal(runs: Sequence[StudyRun], grouping: Grouping) -> list[str]:
    """Settings that differ on the same data; each data set brings its own, so these may differ between data sets."""
    by_data: dict[str, list[StudyRun]] = {}
    for run in runs:
        by_data.setdefault(text(run.config, "dataset.name"), []).append(run)
    lines = []
    for data, same in by_data.items():
        for word, patterns in _EQUAL.items():
            for key in _matching(same, patterns):
                trained = [run for run in same if not run.config.get(EVALUATES)]
                name, values = _values(trained if key in _TRAINED else same, key)
                counts = Counter(values)
                if len(counts) > 1:
                    known = ", in groups of their own" if name in grouping.by else ""
                    lines.append(f"{word} differs on {data}{known}: {name} is {_counted(counts)}")
    return lines


def _values(runs: Sequence[StudyRun], key: str) -> tuple[str, list[str]]:
    """The name and values of a config key; for the budget the epochs trained, if they are not the epochs allowed."""
    asked = [text(run.config, key) for run in runs]
    if key != _EPOCHS:
        return key, asked
    trained = [
        most if run.record.epochs is None else str(run.record.epochs) for run, most in zip(runs, asked, strict=True)
    ]
    return (key, asked) if trained == asked else ("number of epochs trained", trained)


def _matching(runs: Sequence[StudyRun], patterns: Sequence[str]) -> list[str]:
    prefixes = tuple(pattern[:-1] for pattern in patterns if pattern.endswith("*"))
    # A class is no setting: configs of earlier versions name none.
    inner = {key for run in runs for key in run.config if prefixes and key.startswith(prefixes)}
    inner = {key for key in inner if not key.endswith("_target_")}
    return [*(pattern for pattern in patterns if not pattern.endswith("*")), *sorted(inner)]


def _versions(runs: Sequence[StudyRun]) -> list[str]:
    recorded = [run.record.versions for run in runs if run.record.versions]
    lines = []
    for package in sorted({name for versions in recorded for name in versions}):
        counts = Counter(str(versions.get(package, "absent")) for versions in recorded)
        if len(counts) > 1:
            lines.append(f"versions are mixed: {package} {_counted(counts)}")
    commits = Counter(
        f"{str(git.get('commit'))[:8]}{' with changes' if git.get('dirty') else ''}"
        for run in runs
        if (git := run.record.git)
    )
    if len(commits) > 1:
        lines.append(f"the code is mixed: commit {_counted(commits)}")
    return lines


def _mixed(grouping: Grouping) -> list[str]:
    if not grouping.mixed:
        return []
    keys = ", ".join(grouping.mixed)
    return [f"groups mix runs that differ in {keys}: their spread is not one over {grouping.over} alone"]


def _single(grouping: Grouping) -> list[str]:
    alone = sum(len(group.runs) == 1 for group in grouping.groups)
    if not alone:
        return []
    return [f"{alone} of {len(grouping.groups)} groups hold a single run (n = 1): no interval and no test for them"]


def _counted(counts: Mapping[str, int]) -> str:
    shown = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{value} ({n} {'run' if n == 1 else 'runs'})" for value, n in shown[:6]) + (
        f" and {len(shown) - 6} more" if len(shown) > 6 else ""
    )


def _short(reason: Iterable[str] | str | None) -> str:
    line = " ".join(str(reason).split())
    return line if len(line) <= 100 else f"{line[:99]}…"


def _first(lines: list[str]) -> list[str]:
    rest = len(lines) - _NAMED
    return lines if rest <= 0 else [*lines[:_NAMED], f"and {rest} more runs like these"]
