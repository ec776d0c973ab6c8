"""Curves of groups over epochs: their runs, the mean over them, and its interval."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metriscope.errors import InputError
from metriscope.reports.groups import Group
from metriscope.reports.statistics import t_quantile
from metriscope.run.history import LOSS, Row, epochs_trained, points
from metriscope.run.study import StudyRun


class Trajectory(NamedTuple):
    """A logged key over the runs of a group, by epoch from 1.

    ``mean`` and ``half`` (NaN for one run) are those of the 95 % t interval over ``n`` runs; ``values`` (R, E) are the
    runs' own, NaN where a run has none.
    """

    epochs: NDArray[np.float64]
    mean: NDArray[np.float64]
    half: NDArray[np.float64]
    n: NDArray[np.int64]
    values: NDArray[np.float64]


def trajectories(groups: Sequence[Group], keys: Sequence[str]) -> list[dict[str, Trajectory]]:
    """Trajectories of every group by logged key; every history is read once."""
    found = []
    for group in groups:
        histories = [_history(run, keys) for run in group.runs]
        curves = {key: [points(history, key) for history in histories] for key in keys}
        found.append({key: _trajectory(lines) for key, lines in curves.items() if any(x for x, _ in lines)})
    return found


def _history(run: StudyRun, keys: Sequence[str]) -> list[Row]:
    try:
        rows = run.history(list(dict.fromkeys((*keys, LOSS))))
    except InputError as error:
        run.warn_once(f"{error}; left out of the curves")
        return []
    there, trained = epochs_trained(rows), run.record.epochs or 0
    if run.folder is not None and there < trained:
        said = f"has {there} of the {trained} epochs that were trained: the rest of its curves is missing"
        run.warn_once(f"{run.folder / 'metrics.csv'} {said}")
    return rows


def _trajectory(lines: Sequence[tuple[Sequence[float], Sequence[float]]]) -> Trajectory:
    epochs = np.unique(np.concatenate([np.asarray(x, dtype=np.float64) for x, _ in lines]))
    values = np.full((len(lines), len(epochs)), np.nan)
    for row, (x, y) in zip(values, lines, strict=True):
        row[np.searchsorted(epochs, x)] = y
    with np.errstate(over="ignore", invalid="ignore"):  # squares of figures near the largest number
        return _means(epochs, values)


def _means(epochs: NDArray[np.float64], values: NDArray[np.float64]) -> Trajectory:
    n = np.isfinite(values).sum(axis=0)
    mean = np.nansum(values, axis=0) / n
    squares = np.nansum((values - mean) ** 2, axis=0)
    several = n > 1
    half = np.full(len(epochs), np.nan)
    half[several] = t_quantile(n[several] - 1) * np.sqrt(squares[several] / (n[several] - 1) / n[several])
    return Trajectory(epochs + 1, mean, half, n, values)


_APART = 3.0


def on_one_scale(curves: Sequence[Mapping[str, Trajectory]], key: str) -> list[Trajectory | None] | None:
    """The trajectories of a key, each divided by the largest absolute value of its mean; None if nothing is gained.

    Losses of other kinds have other units: beside a loss of 5, one of 0.05 is a line along the axis.
    """
    lines = [one.get(key) for one in curves]
    sizes = [float(np.abs(line.mean).max()) for line in lines if line is not None]
    if not all(np.isfinite(size) and size > 0 for size in sizes) or max(sizes, default=0) <= _APART * min(
        sizes, default=0
    ):
        return None
    return [None if line is None else _divided(line, float(np.abs(line.mean).max())) for line in lines]


def _divided(line: Trajectory, size: float) -> Trajectory:
    return line._replace(mean=line.mean / size, half=line.half / size, values=line.values / size)
