"""Claims of papers as orderings of metrics, and their verdicts from the runs of a study. Imports no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from metriscope.reports.statistics import Difference, paired_difference
from metriscope.run.study import StudyRun

Verdict = Literal["holds", "does not hold", "undecided"]
COMPARABLE = 0.05
"""Accuracies further apart than this are not comparable."""


@dataclass(frozen=True)
class Statement:
    """On one data set, ``metric`` is higher for each loss of ``higher`` than for each of ``lower``.

    Attributes:
        text: the statement in words.
        metric: a key of the summary or of the metrics of a run's history.
        higher, lower: names of losses.
        comparable: an accuracy; the statement is judged only if the losses differ in it by at most :data:`COMPARABLE`.
    """

    text: str
    metric: str
    higher: Sequence[str]
    lower: Sequence[str]
    comparable: str | None = None


@dataclass(frozen=True)
class Claim:
    """A claim of a paper; it holds if all its statements hold on every data set."""

    number: int
    source: str
    text: str
    statements: Sequence[Statement]


@dataclass(frozen=True)
class Finding:
    """The verdict on a statement for one data set.

    Attributes:
        difference: over seeds, the lowest value of ``higher`` minus the highest of ``lower``; None if no seed has
            all of the losses.
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
    """The judgement of a claim by finished runs, one per data set, loss and seed."""
    data = list(dict.fromkeys(run.config["dataset.name"] for run in runs))
    return Judgement(claim, [_find(statement, name, runs) for statement in claim.statements for name in data])


def _find(statement: Statement, data: str, runs: Sequence[StudyRun]) -> Finding:
    losses = (*statement.higher, *statement.lower)
    there: dict[Any, dict[str, StudyRun]] = {}
    for run in runs:
        if run.config["dataset.name"] == data and run.config["loss.name"] in losses and statement.metric in run.metrics:
            there.setdefault(run.config["seed"], {})[run.config["loss.name"]] = run
    whole = {seed: found for seed, found in sorted(there.items()) if len(found) == len(losses)}
    if not whole:
        reason = f"no seed has {statement.metric} of {', '.join(losses)}"
        return Finding(statement, data, None, "undecided", reason, ())
    least = [min(_values(found, statement.higher, statement.metric)) for found in whole.values()]
    most = [max(_values(found, statement.lower, statement.metric)) for found in whole.values()]
    difference = paired_difference(least, most)
    verdict, reason = _verdict(difference)
    if apart := _apart(statement, list(whole.values())):
        verdict, reason = "undecided", apart
    names = [run.name for found in whole.values() for run in found.values()]
    return Finding(statement, data, difference, verdict, reason, names)


def _values(found: Mapping[str, StudyRun], losses: Sequence[str], metric: str) -> list[float]:
    return [found[loss].metrics[metric] for loss in losses]


def _verdict(difference: Difference) -> tuple[Verdict, str]:
    if difference.interval is None:
        return "undecided", "one seed has no interval"
    low, high = difference.interval
    if low > 0:
        return "holds", ""
    return ("does not hold", "") if high < 0 else ("undecided", "the interval includes 0")


def _apart(statement: Statement, whole: Sequence[Mapping[str, StudyRun]]) -> str:
    """Reason that the losses are not comparable; empty if they are or the statement does not need it."""
    metric = statement.comparable
    if metric is None:
        return ""
    if any(metric not in run.metrics for found in whole for run in found.values()):
        return f"{metric} is missing, so the losses may not be comparable"
    losses = (*statement.higher, *statement.lower)
    means = {loss: sum(found[loss].metrics[metric] for found in whole) / len(whole) for loss in losses}
    gap = max(means.values()) - min(means.values())
    return f"not comparable: {metric} differs by {gap:.3f}" if gap > COMPARABLE else ""
