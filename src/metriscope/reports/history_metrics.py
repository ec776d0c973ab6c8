"""Metrics computed from the whole history of a run, such as the mean share of active terms. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

from metriscope.run.history import Row, points
from metriscope.run.study import StudyRun

_KEYS = (
    "train/active_ratio",
    "train/active_ratio_pairs",
    "train/grad_norm",
    "train/loss",
    "train/loss_mean",
    "val/variance_intra",
)


def with_course(run: StudyRun) -> StudyRun:
    """The run with the metrics of :data:`COURSE` added, as far as its history holds their keys."""
    history = run.history(_KEYS)
    values = {name: figure(history) for name, figure in COURSE.items()}
    return replace(run, metrics={**run.metrics, **{name: v for name, v in values.items() if v is not None}})


def active_ratio(history: Sequence[Row]) -> float | None:
    """Mean over epochs of the share of active terms."""
    return _mean(points(history, "train/active_ratio")[1])


def active_ratio_pairs(history: Sequence[Row]) -> float | None:
    """Mean over epochs of the share of active pairs, the scale on which all losses compare."""
    return _mean(points(history, "train/active_ratio_pairs")[1])


def gradient_per_active_term(history: Sequence[Row]) -> float | None:
    """Mean over epochs of the norm of the parameter gradient per active term.

    For any reduction it is the norm of the gradient of the mean over active terms: the logged norm times
    (mean over all terms / logged loss), divided by the share of active terms.
    """
    keys = ("train/grad_norm", "train/loss", "train/loss_mean", "train/active_ratio")
    rows = [[row[key] for key in keys] for row in history if all(row.get(key) for key in keys)]
    return _mean([norm * mean / (loss * active) for norm, loss, mean, active in rows])


def early_loss_decay(history: Sequence[Row]) -> float | None:
    """Relative drop of the mean loss over all terms from the first epoch to the end of the first third."""
    return _early_drop(points(history, "train/loss_mean")[1])


def early_compaction(history: Sequence[Row]) -> float | None:
    """Relative drop of the intra-class variance (validation) from the first epoch to the end of the first third."""
    return _early_drop(points(history, "val/variance_intra")[1])


def late_gradient(history: Sequence[Row]) -> float | None:
    """Gradient norm in the last third of the epochs, relative to that in the first third."""
    norms = points(history, "train/grad_norm")[1]
    third = len(norms) // 3
    if third == 0 or not (early := fmean(norms[:third])):
        return None
    return fmean(norms[-third:]) / early


COURSE: Mapping[str, Callable[[Sequence[Row]], float | None]] = {
    f"course/{figure.__name__}": figure
    for figure in (
        active_ratio,
        active_ratio_pairs,
        gradient_per_active_term,
        early_loss_decay,
        early_compaction,
        late_gradient,
    )
}
"""Functions by the metric key under which :func:`with_course` adds their results."""


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _early_drop(values: Sequence[float]) -> float | None:
    if len(values) < 2 or not values[0]:
        return None
    return 1 - values[max(1, len(values) // 3)] / values[0]
