"""Figures of a comparison (PNG, SVG): curves with bands over repeats, intervals of final values, embeddings."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metriscope.errors import InputError
from metriscope.escapes import for_figure, shown
from metriscope.evaluation.metrics import logged, title_of
from metriscope.reports.comparison import Comparison
from metriscope.reports.groups import Group, label
from metriscope.reports.statistics import t_quantile
from metriscope.reports.style import GREY, MARKERS, PALETTE, guarded, heading, panels, save
from metriscope.run.embeddings import Saved, read_embeddings
from metriscope.run.history import Row, points
from metriscope.run.study import StudyRun

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

Look = tuple[str, str, str]
"""Colour, line style, marker."""


class Trajectory(NamedTuple):
    """Mean of a logged key over the runs of a group, and half of its 95 % t interval (NaN for one run), by epoch."""

    epochs: NDArray[np.float64]
    mean: NDArray[np.float64]
    half: NDArray[np.float64]


CURVES = {
    "learning_curves": (*logged("train", "loss"), *logged("val", "recall_at_1", "map_at_r")),
    "variance": logged("val", "variance_intra", "variance_inter", "variance_ratio"),
    "greediness": logged(
        "train", "active_ratio", "active_ratio_pairs", "grad_norm", "grad_norm_embedding_active", "loss_decay_rate"
    ),
}
"""Logged keys of the panels of the figures over epochs."""

FIGURES = (*CURVES, "recall_against_variance", "intervals", "critical_difference", "embeddings")

_SHOWN, _DATA_SETS = 12, 12
_STYLES = ("-", "--", "-.", ":")


def write_figures(comparison: Comparison, folder: Path, names: Sequence[str] = FIGURES) -> list[Path]:
    """Draw the named figures for which the runs have data; returns the paths, two per figure.

    A history or saved embeddings that cannot be read are left out, and a figure that fails, with a warning.
    """
    from metriscope.reports.ranks import critical_difference

    keys = [key for name in names for key in CURVES.get(name, ())]
    curves = trajectories(comparison.grouping.groups, keys) if keys else []
    makers = {
        "recall_against_variance": recall_against_variance,
        "intervals": intervals,
        "critical_difference": critical_difference,
        "embeddings": embeddings,
    }
    data = len({group.block for group in comparison.grouping.groups})
    if data > _DATA_SETS:
        log.warning("the figures show the first %d of %d data sets", _DATA_SETS, data)

    def write(name: str) -> list[Path]:
        figure = over_epochs(comparison, curves, CURVES[name]) if name in CURVES else makers[name](comparison)
        return [] if figure is None else _write(figure, folder / name)

    return [path for name in names for path in guarded(name, partial(write, name)) or []]


def _write(figure: "Figure", path: Path) -> list[Path]:
    from matplotlib import rc_context

    # Both files use one layout; text stored as text makes the SVG smaller and much faster to write.
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)
    figure.set_layout_engine("none")
    with rc_context({"svg.fonttype": "none"}):
        return [save(figure, path.with_name(f"{path.name}.{kind}")) for kind in ("png", "svg")]


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
        return run.history(keys)
    except InputError as error:
        log.warning("%s; left out of the curves", shown(str(error)))
        return []


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
    return Trajectory(epochs + 1, mean, half)


def over_epochs(
    comparison: Comparison, curves: Sequence[dict[str, Trajectory]], keys: Sequence[str]
) -> "Figure | None":
    """One row of panels per data set, one line with its band per group; None if none of the keys was logged."""
    from matplotlib.ticker import MaxNLocator

    shown = [key for key in keys if any(key in lines for lines in curves)]
    blocks = _blocks(comparison)
    if not shown:
        return None
    names = [f"{heading(key)}{f' ({name})' if name else ''}" for name in blocks for key in shown]
    figure, axes = panels(names, columns=len(shown), width=3.9, height=3.0)
    places = iter(axes)
    for members in blocks.values():
        for key in shown:
            axis = next(places)
            for place, look in zip(members, _looks(), strict=False):
                if key in curves[place]:
                    _band(axis, curves[place][key], look, comparison.grouping.groups[place].method)
            axis.set_xlabel("epoch (band: 95 % interval)", fontsize=9)
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axis.yaxis.set_major_locator(MaxNLocator(5))
            values = [line.get_ydata() for line in axis.lines]
            if "grad_norm" in key and values and min(map(np.min, values)) > 0:
                axis.set_yscale("log")
        _legend(axis)
    return figure


def _band(axis: "Axes", curve: Trajectory, look: Look, name: str) -> None:
    color, style, marker = look
    few = len(curve.epochs) <= 12
    axis.plot(
        curve.epochs,
        curve.mean,
        style,
        color=color,
        label=for_figure(name),
        marker=marker if few else None,
        markersize=3,
    )
    if np.isfinite(curve.half).any():
        axis.fill_between(
            curve.epochs, curve.mean - curve.half, curve.mean + curve.half, color=color, alpha=0.18, linewidth=0
        )


def recall_against_variance(comparison: Comparison) -> "Figure | None":
    """Every run's Recall@1 on the test set against its intra-class and inter-class variance."""
    keys, recall = logged("test", "variance_intra", "variance_inter"), title_of("recall_at_1")
    groups = comparison.grouping.groups
    if not any("test/recall_at_1" in run.metrics for group in groups for run in group.runs):
        return None
    blocks = _blocks(comparison)
    names = [f"{recall} against {title_of(key)}{f' ({name})' if name else ''}" for name in blocks for key in keys]
    figure, axes = panels(names, columns=2)
    places = iter(axes)
    for members in blocks.values():
        for key in keys:
            axis = next(places)
            for place, (color, _, marker) in zip(members, _looks(), strict=False):
                runs = [r.metrics for r in groups[place].runs if {key, "test/recall_at_1"} <= r.metrics.keys()]
                x, y = [m[key] for m in runs], [m["test/recall_at_1"] for m in runs]
                axis.scatter(x, y, s=22, color=color, marker=marker, alpha=0.75, label=for_figure(groups[place].method))
            axis.set_xlabel(f"{title_of(key)} (test)", fontsize=9)
            axis.set_ylabel(f"{recall} (test)", fontsize=9)
        _legend(axis)
    return figure


def intervals(comparison: Comparison) -> "Figure":
    """Mean and 95 % interval of every group in every metric, with runs as faint points."""
    groups = comparison.grouping.groups
    blocks = _blocks(comparison)
    names = [f"{metric}{f' ({name})' if name else ''}" for name in blocks for metric in comparison.metrics]
    most = max(len(members) for members in blocks.values())
    columns = min(4, len(comparison.metrics))
    figure, axes = panels(names, columns=columns, width=3.9, height=0.9 + 0.28 * most)
    places = iter(axes)
    for members in blocks.values():
        for metric in comparison.metrics:
            axis = next(places)
            for height, (place, (color, _, marker)) in enumerate(zip(members, _looks(), strict=False)):
                values = [run.metrics[metric] for run in groups[place].runs if metric in run.metrics]
                axis.plot(values, [height] * len(values), ".", color=color, alpha=0.3, markersize=4)
                cell = comparison.cells.get((place, metric))
                if cell is not None:
                    low, high = cell.summary.interval or (cell.summary.mean, cell.summary.mean)
                    axis.plot([low, high], [height, height], color=color, linewidth=1.6)
                    axis.plot([cell.summary.mean], [height], marker, color=color, markersize=6)
            axis.set_yticks(range(len(members)), [for_figure(groups[place].method) for place in members])
            axis.set_ylim(len(members) - 0.5, -0.5)
            axis.grid(visible=False, axis="y")
            axis.grid(visible=True, axis="x", color="#E5E5E5", linewidth=0.8)
            if sign := comparison.direction(metric):
                better = "more is better" if sign > 0 else "less is better"
                axis.set_xlabel(better, fontsize=8, color=GREY)
    return figure


def embeddings(comparison: Comparison) -> "Figure | None":
    """Test embeddings of one run per group on their principal axes, side by side; None if none were saved."""
    from metriscope.reports.projection import draw_projection

    drawn: list[tuple[str, Saved]] = []
    for members in _blocks(comparison).values():
        for place in members:
            group = comparison.grouping.groups[place]
            saved = next((found for run in group.runs if (found := _saved(run)) is not None), None)
            drawn += [] if saved is None else [(str(group), saved)]
    if not drawn:
        return None
    figure, axes = panels([name for name, _ in drawn], columns=4, width=3.6, height=3.4)
    for axis, (_, saved) in zip(axes, drawn, strict=True):
        draw_projection(axis, saved.embeddings, saved.labels, saved.classes, legend=False)
    return figure


def _saved(run: StudyRun) -> Saved | None:
    try:
        return None if run.folder is None else read_embeddings(run.folder)
    except InputError as error:
        log.warning("%s; left out of the figure", shown(str(error)))
        return None


def _blocks(comparison: Comparison) -> dict[str, list[int]]:
    """Positions of the groups to draw, by title of their data; of many groups the best in the first metric.

    Of many data sets the first: the time to draw grows with the panels.
    """
    blocks: dict[tuple[str, ...], list[int]] = {}
    groups = comparison.grouping.groups
    for place, group in enumerate(groups):
        blocks.setdefault(group.block, []).append(place)
    metric = comparison.metrics[0]
    sign = comparison.direction(metric) or 1

    def rank(place: int) -> float:
        cell = comparison.cells.get((place, metric))
        return -sign * cell.summary.mean if cell else np.inf

    named = {}
    for members in list(blocks.values())[:_DATA_SETS]:
        first = groups[members[0]]
        name = label({key: value for key, value in first.values.items() if key.startswith("dataset.")})
        name = name if first.block else ""
        if len(members) > _SHOWN:
            name = f"{name}; best {_SHOWN} of {len(members)}".lstrip("; ")
        named[name] = sorted(sorted(members, key=rank)[:_SHOWN])
    return named


def _looks() -> list[Look]:
    """Distinguishable looks, as many as a panel has lines at most."""
    return [(color, style, marker) for style, marker in zip(_STYLES, (*MARKERS, "D"), strict=True) for color in PALETTE]


def _legend(axis: "Axes") -> None:
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
