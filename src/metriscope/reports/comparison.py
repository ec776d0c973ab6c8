"""Comparison of a study: a summary for every group and metric, and paired differences from a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from metriscope.errors import InputError, nearest
from metriscope.escapes import shown
from metriscope.evaluation.metric import Direction, Metric
from metriscope.evaluation.metrics import HEADLINES, logged, metric_of
from metriscope.reports.groups import SEED, Group, Grouping, group_runs, text
from metriscope.reports.statistics import Difference, Summary, holm, paired_difference, paired_t, summarize
from metriscope.reports.warnings import cautions, left_out
from metriscope.run.study import Study, StudyRun

METRICS = (*logged("test", *HEADLINES), *logged("train", "active_ratio_pairs"))
"""Metrics compared by default, if any run has them."""

SIGNIFICANT = 0.05


class Cell(NamedTuple):
    """Summary of one metric in one group.

    ``mark`` is ``best`` for the best mean of its block, and ``tied`` if a paired t test over common repeats (Holm
    over the block) finds no difference from the best; None otherwise, and for metrics without a direction.
    """

    summary: Summary
    mark: Literal["best", "tied"] | None = None


@dataclass(frozen=True)
class Contrast:
    """Difference of a group from its baseline in one metric; Holm adjusts p over all contrasts of the metric."""

    metric: str
    group: Group
    baseline: Group
    difference: Difference
    p_t_holm: float | None = None
    p_wilcoxon_holm: float | None = None


@dataclass(frozen=True)
class Comparison:
    """Result of :func:`compare`.

    Attributes:
        study: the compared study.
        grouping: groups of its finished runs.
        metrics: keys of the compared metrics.
        cells: by position of the group and metric; no entry if no run of the group has the metric.
        contrasts: differences from the baseline, in the order of metrics and groups; empty without a baseline.
        notes: warnings to read first, one line each.
        recorded: as of :func:`recorded_metrics`.
    """

    study: Study
    grouping: Grouping
    metrics: Sequence[str]
    cells: Mapping[tuple[int, str], Cell]
    contrasts: Sequence[Contrast]
    notes: Sequence[str]
    recorded: Mapping[str, Metric] = field(default_factory=dict)

    def direction(self, metric: str) -> int:
        """1 if higher is better, -1 if lower is better, 0 if neither."""
        return direction(metric, self.recorded)


def compare(
    study: Study,
    by: Sequence[str] = (),
    metrics: Sequence[str] = (),
    baseline: Mapping[str, str] | None = None,
    over: str = SEED,
) -> Comparison:
    """Compare the finished runs of a study.

    Args:
        by: grouping keys; by default the few that separate runs that differ in more than ``over``.
        metrics: keys of the summary; by default the :data:`METRICS`, and metrics of one's own, that any run has.
        baseline: values of grouping keys that name the baseline, with which other groups of its block are compared.
        over: the key whose values are repeats, ``seed`` or ``dataset.fold``.

    Raises:
        InputError: no run has finished, or a key, metric or baseline does not exist; the message names the nearest.
    """
    runs = study.finished
    if not runs:
        raise InputError(f"{study.name}: no run has finished; {'; '.join(left_out(study)[:3])}")
    grouping = group_runs(runs, by, over)
    there = {metric for run in runs for metric in run.metrics}
    for metric in metrics:
        if metric not in there:
            raise InputError(f"{metric}: no finished run has this metric{nearest(metric, there)}")
    recorded = recorded_metrics(runs)
    own = sorted(key for name in recorded if (key := f"test/{name}") in there)
    chosen = list(dict.fromkeys(metrics)) or [metric for metric in (*METRICS, *own) if metric in there]
    cells: dict[tuple[int, str], Cell] = {}
    for metric in chosen:
        cells.update(_column(grouping, metric, direction(metric, recorded)))
    partners = _partners(grouping, baseline) if baseline else []
    contrasts = [line for metric in chosen for line in _contrasts(grouping, partners, metric)]
    apart = [
        f"{group} and {base} have no {over} in common: their difference is not tested"
        for group, base in partners
        if not {*map(grouping.repeat, group.runs)} & {*map(grouping.repeat, base.runs)}
    ]
    notes = [shown(note) for note in (*cautions(study, grouping), *apart)]
    return Comparison(study, grouping, chosen, cells, contrasts, notes, recorded)


def select(study: Study, wanted: Mapping[str, str]) -> Study:
    """The runs whose config has these values.

    Raises:
        InputError: no run has a key, or no run has all the values.
    """
    known = {key for run in study.runs for key in run.config}
    for key in wanted:
        if key not in known:
            raise InputError(f"{key}: no run has this key{nearest(key, known)}")
    runs = [run for run in study.runs if all(text(run.config, key) == value for key, value in wanted.items())]
    if not runs:
        raise InputError(f"no run of {study.name} has {', '.join(f'{k}={v}' for k, v in wanted.items())}")
    return replace(study, runs=runs)


def recorded_metrics(runs: Sequence[StudyRun]) -> dict[str, Metric]:
    """Metrics that the records of runs describe and the registry does not have, by key without split.

    Where two runs disagree about the direction, the metric has none.
    """
    found: dict[str, Metric] = {}
    for run in runs:
        for name, (title, said) in run.record.metrics.items():
            if metric_of(name) is not None:
                continue
            end: Direction | None = "max" if said == "max" else "min" if said == "min" else None
            known = found.setdefault(name, Metric(name, title or name, "own", end, ""))
            if known.direction != end:
                found[name] = replace(known, direction=None)
    return found


def described(metric: str, recorded: Mapping[str, Metric]) -> Metric | None:
    """What there is to know about a logged key: from the registry, or from the records of the runs."""
    return metric_of(metric) or recorded.get(metric.rpartition("/")[2])


def direction(metric: str, recorded: Mapping[str, Metric] | None = None) -> int:
    """1 if higher is better, -1 if lower is better, 0 if neither.

    Args:
        metric: a logged key.
        recorded: metrics that the registry does not have, as of :func:`recorded_metrics`.
    """
    known = described(metric, recorded or {})
    return {"max": 1, "min": -1, None: 0}[known.direction if known else None]


def pairs(grouping: Grouping, first: Group, second: Group, metric: str) -> tuple[list[float], list[float]]:
    """Values of a metric in two groups at their common repeats (seeds), in the same order."""
    ours, theirs = ({grouping.repeat(run): run for run in _having(group, metric)} for group in (first, second))
    common = sorted(ours.keys() & theirs.keys())
    return [ours[repeat].metrics[metric] for repeat in common], [theirs[repeat].metrics[metric] for repeat in common]


def _having(group: Group, metric: str) -> list[StudyRun]:
    return [run for run in group.runs if metric in run.metrics]


def _column(grouping: Grouping, metric: str, sign: int) -> dict[tuple[int, str], Cell]:
    """The cells of one metric, with the best and tied groups of every block marked."""
    blocks: dict[tuple[str, ...], list[int]] = {}
    cells = {}
    for place, group in enumerate(grouping.groups):
        values = [run.metrics[metric] for run in _having(group, metric)]
        if values:
            cells[place, metric] = Cell(summarize(values))
            blocks.setdefault(group.block, []).append(place)
    for places in blocks.values() if sign else ():
        best = max(places, key=lambda place: sign * cells[place, metric].summary.mean)
        others = [place for place in places if place != best]
        p_values = holm([_p(grouping, best, other, metric) for other in others])
        if others:
            cells[best, metric] = cells[best, metric]._replace(mark="best")
        for other, p in zip(others, p_values, strict=True):
            if p is None or p >= SIGNIFICANT:
                cells[other, metric] = cells[other, metric]._replace(mark="tied")
    return cells


def _p(grouping: Grouping, best: int, other: int, metric: str) -> float | None:
    values, others = pairs(grouping, grouping.groups[best], grouping.groups[other], metric)
    return paired_t(values, others) if values else None


def _contrasts(grouping: Grouping, partners: Sequence[tuple[Group, Group]], metric: str) -> list[Contrast]:
    lines = []
    for group, base in partners:
        values, others = pairs(grouping, group, base, metric)
        if values:
            lines.append(Contrast(metric, group, base, paired_difference(values, others)))
    p_t = holm([line.difference.p_t for line in lines])
    p_wilcoxon = holm([line.difference.p_wilcoxon for line in lines])
    return [replace(line, p_t_holm=t, p_wilcoxon_holm=w) for line, t, w in zip(lines, p_t, p_wilcoxon, strict=True)]


def _partners(grouping: Grouping, wanted: Mapping[str, str]) -> list[tuple[Group, Group]]:
    """Pairs of a group and its baseline, for all groups that have one other than themselves."""
    baselines = _baselines(grouping, wanted)
    found = [(group, _partner(group, baselines, wanted)) for group in grouping.groups]
    return [(group, base) for group, base in found if base is not None and base is not group]


def _baselines(grouping: Grouping, wanted: Mapping[str, str]) -> list[Group]:
    for key, value in wanted.items():
        if key not in grouping.by:
            raise InputError(f"baseline {key}: groups are by {', '.join(grouping.by)}; add it to --by")
        there = {group.values[key] for group in grouping.groups}
        if value not in there:
            raise InputError(f"baseline {key}={value}: no group has this value{nearest(value, there)}")
    found = [group for group in grouping.groups if wanted.items() <= group.values.items()]
    if not found:
        raise InputError(f"baseline {', '.join(f'{k}={v}' for k, v in wanted.items())}: no group has all of these")
    return found


def _partner(group: Group, baselines: Sequence[Group], wanted: Mapping[str, str]) -> Group | None:
    """The baseline on the same data that shares the most other values with a group; None without any.

    Raises:
        InputError: two baselines share equally many values.
    """
    shared: dict[int, list[Group]] = {}
    for base in baselines:
        if base is group:
            return group
        if base.block == group.block:
            shared.setdefault(len(base.values.items() & group.values.items()), []).append(base)
    if not shared:
        return None
    closest = shared[max(shared)]
    if len(closest) > 1:
        keys = [key for key in closest[0].values if closest[0].values[key] != closest[1].values[key]]
        raise InputError(
            f"baseline {', '.join(f'{k}={v}' for k, v in wanted.items())}: {' and '.join(map(str, closest[:2]))} "
            f"both fit {group}; give {keys[0]} too"
        )
    return closest[0]
