"""What a fair comparison needs, each judged by code on configs, ledger and manifest."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from metriscope.reports.fair_models import scored
from metriscope.reports.fair_study import ENTRY, FairStudy
from metriscope.reports.groups import text
from metriscope.reports.superiority import THRESHOLD, repeats_needed
from metriscope.reports.tables import Shown, Table
from metriscope.run.study import StudyRun

FEWEST = 2
"""Repeats below which there is no interval."""

# Config keys that have to be equal in all repeats [MLRC], by the word for them; a star stands for any ending.
_EQUAL: Mapping[str, Sequence[str]] = {
    "trunk": ("backbone.name", "backbone.library", "backbone.weights", "backbone.freeze", "backbone.widths"),
    "size": ("head.*",),
    "input": ("augmentation.*", "dataset.image_size", "dataset.mean", "dataset.std"),
    "batch norm": ("backbone.freeze", "backbone.freeze_batch_norm"),
    "pooling": ("backbone.pooling",),
    "batch": ("sampler.*",),
    "optimiser": ("optimizer.*", "trainer.gradient_clip_val", "trainer.accumulate_grad_batches"),
    "schedule": ("scheduler.*",),
    "precision": ("trainer.precision", "backbone.precision"),
    "data": (
        "dataset.name",
        "dataset.protocol",
        "dataset.train_share",
        "dataset.label_noise",
        "dataset.train_labels",
        "dataset.test_labels",
    ),
}


class Check(NamedTuple):
    """A check: whether it holds (None: cannot be told), and what was found."""

    name: str
    holds: bool | None
    found: str


def checks(study: FairStudy) -> list[Check]:
    """All checks of a study, in the order of the page."""
    runs = study.runs.finished if study.runs else []
    repeats = next((way.finished for way in scored(study).values()), [])
    searched = {key for entry in study.entries for key in study.space(entry)}
    return [
        *(_equal(name, patterns, runs, searched) for name, patterns in _EQUAL.items()),
        _budget(runs),
        _trials(study),
        _selection(study),
        _settings(study, runs),
        _untested(study, runs),
        _intervals(study, repeats),
        _seal(study, runs),
    ]


def checks_table(found: Sequence[Check]) -> Table:
    """The checks as a table; those that fail are bold."""
    words: dict[bool | None, Literal["holds", "fails", "not known"]] = {True: "holds", False: "fails"}
    rows = [
        [Shown([one.name]), Shown([words.get(one.holds, "not known")], one.holds is False), Shown([one.found])]
        for one in found
    ]
    caption = (
        "Judged on the configs of all finished repeats, the ledger and the manifest. What a search may set is left "
    )
    caption += "out of what has to be equal."
    return Table(caption, ["check", "", "found"], rows, 3)


def failures(found: Sequence[Check]) -> list[str]:
    """One line for each check that fails."""
    return [f"check of {one.name} fails: {one.found}" for one in found if one.holds is False]


def _equal(name: str, patterns: Sequence[str], runs: Sequence[StudyRun], searched: Iterable[str]) -> Check:
    there = dict.fromkeys(key for run in runs for key in run.config)
    keys = [key for key in there if _fits(key, patterns) and key not in searched and not key.endswith("_target_")]
    if not keys:
        return Check(name, None, "no repeats" if not runs else "no key of the configs says")
    apart = [f"{key}: {_by_value(key, runs)}" for key in keys if len({text(run.config, key) for run in runs}) > 1]
    if apart:
        return Check(name, False, "; ".join(apart))
    last = {key: key.rpartition(".")[2] for key in keys}
    said = [f"{last[key]} {value}" for key in keys if (value := text(runs[0].config, key)) not in ("null", "-")]
    return Check(name, True, ", ".join(said) or "nothing set")


def _fits(key: str, patterns: Sequence[str]) -> bool:
    return any(key.startswith(one[:-1]) if one.endswith("*") else key == one for one in patterns)


def _by_value(key: str, runs: Sequence[StudyRun]) -> str:
    found: dict[str, list[str]] = {}
    for run in runs:
        found.setdefault(text(run.config, key), []).append(str(run.config[ENTRY]))
    return ", ".join(f"{value} ({', '.join(dict.fromkeys(names))})" for value, names in found.items())


def _budget(runs: Sequence[StudyRun]) -> Check:
    """Budgets are the winners' own, and have to be equal within an entry."""
    keys = ("trainer.max_epochs", "trainer.limit_train_batches", "trainer.max_steps")
    found: dict[str, set[str]] = {}
    for run in runs:
        own = ", ".join(f"{key.rpartition('.')[2]} {text(run.config, key)}" for key in keys if run.config.get(key))
        found.setdefault(str(run.config[ENTRY]), set()).add(own)
    if not found:
        return Check("budget", None, "no repeats")
    mixed = [f"{entry}: {' and '.join(sorted(own))}" for entry, own in found.items() if len(own) > 1]
    if mixed:
        return Check("budget", False, "; ".join(mixed))
    every = {entry: own.copy().pop() for entry, own in found.items()}
    if len(set(every.values())) == 1:
        return Check("budget", True, next(iter(every.values())))
    return Check("budget", True, "of each winner: " + "; ".join(f"{entry}: {own}" for entry, own in every.items()))


def _trials(study: FairStudy) -> Check:
    counts = {entry: len(study.of(entry)) for entry in study.entries}
    asked = study.definition.get("trials", max(counts.values(), default=0))
    short = [f"{entry} has {count}" for entry, count in counts.items() if count != asked]
    return Check("trials", not short, f"{asked} for each entry" + (f", but {', '.join(short)}" if short else ""))


def _selection(study: FairStudy) -> Check:
    """Winners are the best complete trials of the ledger, by a validation metric over all folds."""
    if not study.metric.startswith("val/"):
        return Check("selection", False, f"the search goes by {study.metric}, which is no validation metric")
    if study.manifest is None:
        return Check("selection", None, f"by {study.metric}; the search is not closed")
    wrong = []
    for entry in study.entries:
        winner, best = study.winner(entry), study.best(entry)
        if winner is None or best is None:
            wrong.append(f"{entry} has no {'winner' if best else 'complete trial'}")
        elif winner.get("trial") != best.trial or dict(winner.get("params") or {}) != dict(best.params):
            wrong.append(f"{entry}: the manifest names trial {winner.get('trial')}, the ledger's best is {best.trial}")
    folds = study.definition.get("folds", "all")
    return Check("selection", not wrong, "; ".join(wrong) or f"best complete trial by {study.metric}, {folds} folds")


def _settings(study: FairStudy, runs: Sequence[StudyRun]) -> Check:
    """Repeats have what the search of their entry found."""
    if not runs or study.manifest is None:
        return Check("settings", None, "no repeats")
    wrong = []
    for run in runs:
        for key, value in dict((study.winner(run.config[ENTRY]) or {}).get("params") or {}).items():
            own = run.config.get(key)
            if text({key: value}, key) != text(run.config, key) and not _close(value, own):
                wrong.append(f"{run.name}: {key}={own}, and {value} won")
    return Check("settings", not wrong, "; ".join(wrong[:3]) or "repeats have the parameters of the winners")


def _close(value: object, own: object) -> bool:
    try:
        return float(str(value)) == float(str(own))
    except ValueError:
        return False


def _untested(study: FairStudy, runs: Sequence[StudyRun]) -> Check:
    """No repeat chooses its epoch on test classes."""
    keys = ("evaluation.monitor", "scheduler.monitor")
    wrong = [
        f"{run.name}: {key}={run.config[key]}" for run in runs for key in keys
        if str(run.config.get(key) or "").startswith("test/")
    ]  # fmt: skip
    said = "no repeat selects on test classes" if runs else "no repeats"
    return Check("test classes", not wrong if runs else None, "; ".join(wrong[:3]) or said)


def _intervals(study: FairStudy, runs: Sequence[StudyRun]) -> Check:
    seeds = {entry: sorted(r.config["seed"] for r in runs if r.config[ENTRY] == entry) for entry in study.entries}
    counts = {entry: len(own) for entry, own in seeds.items()}
    if not runs:
        return Check("intervals", None, "no repeats")
    few = [f"{entry} has {count}" for entry, count in counts.items() if count < FEWEST]
    if few:
        return Check("intervals", False, f"too few repeats for an interval: {', '.join(few)}, and {FEWEST} are needed")
    if len({tuple(own) for own in seeds.values()}) > 1:
        said = ", ".join(f"{entry} {count}" for entry, count in counts.items())
        return Check("intervals", False, f"repeats are not paired: seeds differ between entries ({said} repeats)")
    n = min(counts.values())
    asked, needed = study.definition.get("repeats", n), repeats_needed()
    said = f"{n} repeats of each entry, paired by seed"
    if n < asked:
        return Check("intervals", False, f"{said}, and {asked} were asked for")
    low = f"; {needed} would tell P(A > B) = {THRESHOLD} from 0.5 with errors of 5 %" if n < needed else ""
    return Check("intervals", True, f"{said}{low}")


def _seal(study: FairStudy, runs: Sequence[StudyRun]) -> Check:
    """Every repeat names the manifest, whose hash and ledger were judged when they were read."""
    if study.manifest is None:
        return Check("seal", None, "the search is not closed")
    if not runs:
        return Check("seal", True, "hashes of manifest and ledger hold; no repeats")
    what = "runs of repeats" if study.of_folds else "repeats"
    wrong = [run.name for run in runs if run.record.fair != study.manifest["hash"]]
    holds = f"hashes of manifest and ledger hold; all {len(runs)} {what} name the manifest"
    return Check("seal", not wrong, f"{', '.join(wrong[:3])} names another manifest" if wrong else holds)
