"""Claims as orderings of metrics, and their verdicts from the runs of a study. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from metriscope.reports.groups import label, text
from metriscope.reports.sides import Side
from metriscope.reports.statistics import Difference, paired_difference
from metriscope.run.study import StudyRun

Verdict = Literal["holds", "does not hold", "undecided"]
COMPARABLE = 0.05
"""Accuracies further apart than this are not comparable."""


@dataclass(frozen=True)
class Statement:
    """On one data set, and for every seed, ``higher`` is above ``lower`` in a metric.

    Attributes:
        text: the statement in words.
        metric: a key of the summary or of the metrics of a run's history.
        higher: what the runs of one seed come to.
        lower: the same, or a number.
        comparable: an accuracy; the statement is judged only if the groups differ in it by at most :data:`COMPARABLE`.
        beside: the metric of ``lower``, where it is another one.
        data: names of the data sets that it speaks of; empty for all.
    """

    text: str
    metric: str
    higher: Side
    lower: Side | float = 0.0
    comparable: str | None = None
    beside: str | None = None
    data: Sequence[str] = ()

    @property
    def cells(self) -> list[Mapping[str, Any]]:
        """The groups of runs that it speaks of, those of ``higher`` first."""
        return [*self.higher.cells, *(self.lower.cells if isinstance(self.lower, Side) else ())]

    @property
    def metrics(self) -> list[str]:
        """The metric of each cell."""
        first = len(self.higher.cells)
        return [self.metric] * first + [self.beside or self.metric] * (len(self.cells) - first)

    def sides(self, values: Sequence[float]) -> tuple[float, float]:
        """Both sides from the values of all cells at one seed."""
        first = len(self.higher.cells)
        low = self.lower.of(values[first:]) if isinstance(self.lower, Side) else self.lower
        return self.higher.of(values[:first]), low


@dataclass(frozen=True)
class Claim:
    """A claim of a source; it holds if all its statements hold on every data set."""

    number: int
    source: str
    text: str
    statements: Sequence[Statement]


@dataclass(frozen=True)
class Finding:
    """The verdict on a statement for one data set.

    Attributes:
        difference: over seeds, ``higher`` minus ``lower``; None if no seed has all runs.
        verdict: ``holds`` if its 95 % interval lies above 0, ``does not hold`` if below, else ``undecided``.
        reason: why it is undecided despite a difference, or which runs are missing.
        runs: names of the runs that were judged.
    """

    statement: Statement
    data: str
    difference: Difference | None
    verdict: Verdict
    reason: str
    runs: Sequence[str]


@dataclass(frozen=True)
class Judgement:
    """A claim and its findings; it holds if all findings hold, and does not hold if one does not."""

    claim: Claim
    findings: Sequence[Finding]

    @property
    def verdict(self) -> Verdict:
        verdicts = {finding.verdict for finding in self.findings}
        if "does not hold" in verdicts:
            return "does not hold"
        return "holds" if verdicts == {"holds"} else "undecided"


def judge(claim: Claim, runs: Sequence[StudyRun]) -> Judgement:
    """The judgement of a claim by finished runs, one per data set, cell and seed."""
    data = list(dict.fromkeys(run.config["dataset.name"] for run in runs))
    return Judgement(
        claim,
        [
            _find(statement, name, runs)
            for statement in claim.statements
            for name in data
            if name in (statement.data or data)
        ],
    )


def _find(statement: Statement, data: str, runs: Sequence[StudyRun]) -> Finding:
    cells, metrics = statement.cells, statement.metrics
    there: dict[Any, dict[int, StudyRun]] = {}
    for run in runs:
        if run.config["dataset.name"] == data:
            own = {n: run for n, cell in enumerate(cells) if metrics[n] in run.metrics and _is_of(run, cell)}
            if own:
                there.setdefault(run.config["seed"], {}).update(own)
    whole = {seed: found for seed, found in sorted(there.items()) if len(found) == len(cells)}
    if not whole:
        wanted = " and ".join(dict.fromkeys(metrics))
        reason = f"no seed has {wanted} of {' and '.join(dict.fromkeys(map(_label, cells)))}"
        return Finding(statement, data, None, "undecided", reason, ())
    sides = [statement.sides([found[n].metrics[metrics[n]] for n in range(len(cells))]) for found in whole.values()]
    difference = paired_difference([high for high, _ in sides], [low for _, low in sides])
    verdict, reason = _verdict(difference)
    if apart := _apart(statement, list(whole.values())):
        verdict, reason = "undecided", apart
    names = dict.fromkeys(found[place].name for found in whole.values() for place in sorted(found))
    return Finding(statement, data, difference, verdict, reason, list(names))


def _is_of(run: StudyRun, cell: Mapping[str, Any]) -> bool:
    return all(text(run.config, key) == text(cell, key) for key in cell)


def _label(cell: Mapping[str, Any]) -> str:
    return label({key: text(cell, key) for key in cell})


def _verdict(difference: Difference) -> tuple[Verdict, str]:
    if difference.interval is None:
        return "undecided", "one seed has no interval"
    low, high = difference.interval
    if low > 0:
        return "holds", ""
    return ("does not hold", "") if high < 0 else ("undecided", "the interval includes 0")


def _apart(statement: Statement, whole: Sequence[Mapping[int, StudyRun]]) -> str:
    """Reason that the groups are not comparable; empty if they are or the statement does not need it."""
    metric = statement.comparable
    if metric is None:
        return ""
    if any(metric not in run.metrics for found in whole for run in found.values()):
        return f"{metric} is missing, so the runs may not be comparable"
    means = [sum(found[n].metrics[metric] for found in whole) / len(whole) for n in range(len(statement.cells))]
    gap = max(means) - min(means)
    return f"not comparable: {metric} differs by {gap:.3f}" if gap > COMPARABLE else ""
