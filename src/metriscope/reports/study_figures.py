"""Figures of a comparison: curves with bands over repeats, recall against variance, intervals of final values."""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metriscope.escapes import shown
from metriscope.evaluation.metrics import logged, title_of
from metriscope.files import folder_in
from metriscope.reports.comparison import Comparison
from metriscope.reports.scales import epochs_axis, value_axis, within
from metriscope.reports.shown_groups import MOST_DATA_SETS, blocks, looks, titled
from metriscope.reports.style import (
    GREY,
    GRID,
    PLAIN,
    SMALL,
    Look,
    fitted,
    guarded,
    panels,
    save_as,
    width_of,
)
from metriscope.reports.table_style import Style, Written
from metriscope.reports.trajectories import Trajectory, on_one_scale, trajectories

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

BAND_FROM = 4
"""Of fewer repeats the runs themselves are drawn: their interval says more about t than about the method."""

CURVES = {
    "learning_curves": (*logged("train", "loss"), *logged("val", "recall_at_1", "map_at_r")),
    "variance": logged("val", "variance_intra", "variance_inter", "variance_ratio"),
    "greediness": logged(
        "train", "active_ratio", "active_ratio_pairs", "grad_norm", "grad_norm_embedding_active", "loss_decay_rate"
    ),
}
"""Logged keys of the panels of the figures over epochs."""

FIGURES = (
    *CURVES,
    "recall_against_variance",
    "intervals",
    "roc",
    "critical_difference",
    "embeddings",
    "confused_classes",
)


def write_figures(
    comparison: Comparison,
    folder: Path,
    names: Sequence[str] = FIGURES,
    formats: Sequence[str] = ("png", "svg"),
    method: str = "pca",
    style: Style | None = None,
) -> list[Path]:
    """Draw the named figures for which the runs have data; returns the paths, one per format and figure.

    A history or saved embeddings that cannot be read are left out, and a figure that fails, with a warning.

    Args:
        method: of the projection of embeddings.
        style: whose names the figures have.
    """
    from metriscope.reports.embedding_figures import confused_classes, embeddings
    from metriscope.reports.ranks import critical_difference
    from metriscope.reports.verification import tar_over_far

    try:
        folder_in(folder.parent, folder.name)
    except OSError as error:
        log.warning("the figures are left out (%s: %s)", shown(str(folder)), error.strerror)
        return []
    keys = [key for name in names for key in CURVES.get(name, ())]
    curves = trajectories(comparison.grouping.groups, keys) if keys else []
    written = Written(comparison, style)
    makers: dict[str, Callable[[Written], Figure | None]] = {
        "recall_against_variance": recall_against_variance,
        "intervals": intervals,
        "roc": tar_over_far,
        "critical_difference": critical_difference,
        "embeddings": partial(embeddings, method=method),
        "confused_classes": confused_classes,
    }
    data = len({group.block for group in comparison.grouping.groups})
    if data > MOST_DATA_SETS:
        log.warning("the figures show the first %d of %d data sets", MOST_DATA_SETS, data)

    def write(name: str) -> list[Path]:
        if name in CURVES:
            figure = over_epochs(written, curves, CURVES[name], name.replace("_", " "))
        else:
            figure = makers[name](written)
        return [] if figure is None else save_as(figure, folder / name, formats)

    return [path for name in names for path in guarded(name, partial(write, name)) or []]


def over_epochs(
    written: Written, curves: Sequence[dict[str, Trajectory]], keys: Sequence[str], name: str = "curves"
) -> "Figure | None":
    """One row of panels per data set, one line with its band per group; None if none of the keys was logged."""
    there = [key for key in keys if any(key in lines for lines in curves)]
    rows, groups = blocks(written), written.comparison.grouping.groups
    if not there:
        return None
    drawn = [place for members in rows.values() for place in members]
    # Losses have no common unit.
    scaled = {key: on_one_scale([curves[place] for place in drawn], key) for key in there if title_of(key) == "loss"}
    lines = {
        key: dict(zip(drawn, scaled.get(key) or [curves[place].get(key) for place in drawn], strict=True))
        for key in there
    }
    relative = {key: ", share of largest" if scaled.get(key) else "" for key in there}
    names = [_titled(written.heading(key) + relative[key], data) for data in rows for key in there]
    key_of_looks = looks(written)
    figure, axes = panels(
        names,
        columns=len(there),
        width=3.6,
        height=2.75,
        title=titled(written, name),
        note=f"bold: mean; band: 95 % interval of {BAND_FROM} runs or more; thin: single runs where there are fewer",
        key=key_of_looks,
    )
    places = iter(axes)
    for members in rows.values():
        for key in there:
            found = [(written.method(groups[place]), lines[key][place]) for place in members]
            _panel(next(places), key, [(key_of_looks[method], line) for method, line in found if line])
    return figure


def _panel(axis: "Axes", key: str, lines: Sequence[tuple[Look, Trajectory]]) -> None:
    """Lines with their bands over epochs, and an axis that they set."""
    edges: list[NDArray[np.float64]] = []
    for look, line in lines:
        edges += _line(axis, key, line, look)
    axis.set_xlabel("epoch", fontsize=PLAIN)
    epochs_axis(axis, max((line.epochs[-1] for _, line in lines), default=1))
    value_axis(axis, key, [line.mean for _, line in lines], edges, log="grad_norm" in key)


def _line(axis: "Axes", key: str, line: Trajectory, look: Look) -> list[NDArray[np.float64]]:
    """Draw one line, and return what lies around it: the edges of its band, or its single runs."""
    color, style, marker = look
    few = np.where(line.n < BAND_FROM, line.values, np.nan)
    few = few[np.isfinite(few).any(axis=1)] if (line.n > 1).any() else few[:0]
    if len(few):
        axis.plot(line.epochs, few.T, color=color, alpha=0.45, linewidth=0.6)
    every = max(1, len(line.epochs) // 6)
    # The first marker of each look stands elsewhere, so that markers of close lines do not hide each other.
    first = sum(map(ord, color + marker)) % every
    axis.plot(
        line.epochs, line.mean, linestyle=style, color=color, marker=marker, markersize=3.5, markevery=(first, every),
        linewidth=1.5,
    )  # fmt: skip
    band = np.isfinite(line.half) & (line.n >= BAND_FROM)
    if not band.any():
        return [few]
    low, high = (within(key, np.where(band, line.mean + side * line.half, np.nan)) for side in (-1, 1))
    axis.fill_between(line.epochs, low, high, color=color, alpha=0.18, linewidth=0)
    return [few, low, high]


def _titled(what: str, data: str) -> str:
    return f"{what}, {data}" if data else what


def recall_against_variance(written: Written) -> "Figure | None":
    """Every run's Recall@1 on the test set against its intra-class and inter-class variance."""
    keys, recall = logged("test", "variance_intra", "variance_inter"), logged("test", "recall_at_1")[0]
    groups = written.comparison.grouping.groups
    runs = [run.metrics for group in groups for run in group.runs]
    keys = tuple(key for key in keys if any({key, recall} <= one.keys() for one in runs))
    if not keys:
        return None
    rows, key_of_looks = blocks(written), looks(written)
    names = [_titled(f"{title_of(recall)} against {title_of(key)}", data) for data in rows for key in keys]
    title = titled(written, "recall against variance")
    figure, axes = panels(names, columns=2, title=title, note="one mark per run", key=key_of_looks)
    places = iter(axes)
    for members in rows.values():
        for key in keys:
            axis = next(places)
            drawn = []
            for place in members:
                color, _, marker = key_of_looks[written.method(groups[place])]
                found = [run.metrics for run in groups[place].runs if {key, recall} <= run.metrics.keys()]
                y = [one[recall] for one in found]
                axis.plot([one[key] for one in found], y, marker, color=color, alpha=0.75, markersize=5, mew=0)
                drawn.append(y)
            value_axis(axis, recall, drawn)
            axis.set_xlabel(f"{title_of(key)} (test)", fontsize=PLAIN)
            axis.set_ylabel(f"{title_of(recall)} (test)", fontsize=PLAIN)
    return figure


_NAMES_WIDTH = 2.6


def intervals(written: Written) -> "Figure | None":
    """Mean and 95 % interval of every group in every metric, with runs as faint points; None without a metric."""
    comparison = written.comparison
    groups, metrics = comparison.grouping.groups, comparison.metrics
    if not metrics:
        return None
    rows, key_of_looks = blocks(written), looks(written)
    names = [_titled(written.heading(metric), data) for data in rows for metric in metrics]
    most = max(len(members) for members in rows.values())
    columns = min(4, len(metrics))
    # A row of panels holds one data set only, so that its names stand at the left alone.
    filled = -(-len(metrics) // columns) * columns
    left = min(max((width_of(method, SMALL) for method in key_of_looks), default=0.0), _NAMES_WIDTH)
    figure, axes = panels(
        [
            name
            for start in range(0, len(names), len(metrics))
            for name in _padded(names[start : start + len(metrics)], filled)
        ],
        columns=columns,
        width=3.2,
        height=1.2 + 0.24 * most,
        title=titled(written, "final values"),
        note=f"large: mean; line: 95 % interval of {BAND_FROM} runs or more; small: single runs",
        left=max(left - 0.3, 0.0),
    )
    places = iter(axes)
    for members in rows.values():
        for column in range(filled):
            axis = next(places)
            if column >= len(metrics):
                axis.remove()
                continue
            methods = [written.method(groups[place]) for place in members]
            labels = [fitted(method, left, SMALL) for method in methods]
            axis.set_yticks(range(len(members)), labels if column % columns == 0 else [""] * len(members))
            axis.set_ylim(len(members) - 0.5, -0.5)
            _intervals(axis, comparison, metrics[column], members, [key_of_looks[method] for method in methods])
    return figure


def _padded(names: Sequence[str], count: int) -> list[str]:
    return [*names, *[""] * (count - len(names))]


def _intervals(axis: "Axes", comparison: Comparison, metric: str, members: Iterable[int], own: Iterable[Look]) -> None:
    for height, (place, (color, _, marker)) in enumerate(zip(members, own, strict=True)):
        runs = comparison.grouping.groups[place].runs
        values = [run.metrics[metric] for run in runs if metric in run.metrics]
        several = len(values) >= BAND_FROM
        axis.plot(values, [height] * len(values), ".", color=color, alpha=0.35 if several else 0.8, markersize=5, mew=0)
        cell = comparison.cells.get((place, metric))
        if cell is not None:
            if several and cell.summary.interval is not None:
                axis.plot(within(metric, cell.summary.interval), [height, height], color=color, linewidth=1.6)
            axis.plot([cell.summary.mean], [height], marker, color=color, markersize=6, alpha=1 if several else 0.6)
    axis.grid(visible=False, axis="y")
    axis.grid(visible=True, axis="x", color=GRID, linewidth=0.8)
    axis.locator_params(axis="x", nbins=4)
    if sign := comparison.direction(metric):
        better = "more is better" if sign > 0 else "less is better"
        axis.set_xlabel(better, fontsize=SMALL, color=GREY)
