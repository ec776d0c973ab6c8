"""Projection of an embedding to two dimensions, and its figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metriscope.escapes import for_figure
from metriscope.reports.style import GREY, MARKERS, PALETTE, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_POINTS = 5000
MAX_NAMED = 20
GOLDEN = 0.6180339887498949


def principal_plane(embeddings: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates (N, 2) on the two main axes of the covariance, and the share of the variance on each.

    The largest component of each axis is positive, so that the same embedding always has the same plot.
    A single dimension gets a second axis of zeros.
    """
    points = np.asarray(embeddings, dtype=np.float64)
    points = points - points.mean(axis=0)
    values, axes = np.linalg.eigh(points.T @ points)
    axes, values = axes[:, ::-1][:, :2], np.maximum(values[::-1], 0)
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1.0, 1.0)
    share = values[:2] / (values.sum() or 1.0)
    missing = 2 - axes.shape[1]
    return np.pad(points @ axes, ((0, 0), (0, missing))), np.pad(share, (0, missing))


def projection(embeddings: ArrayLike, labels: ArrayLike, classes: Sequence[str], split: str = "test") -> "Figure":
    """The embedding on its two principal axes, coloured by class.

    Args:
        embeddings, labels, classes: as for :func:`draw_projection`.
        split: name of the embedded split, for the title.
    """
    figure, (axis,) = panels([f"Embedding of the {split} set"], width=6.4, height=5.2)
    present = draw_projection(axis, embeddings, labels, classes)
    if present > MAX_NAMED:
        title = f"Embedding of the {split} set, {present} classes"
        axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    return figure


def draw_projection(
    axis: "Axes", embeddings: ArrayLike, labels: ArrayLike, classes: Sequence[str], legend: bool = True
) -> int:
    """Draw an embedding on its two principal axes, and return how many classes occur.

    Args:
        embeddings: (N, D), float; rows that are not finite are left out.
        labels: (N,), class ids.
        classes: names by class id. Up to 20 classes are drawn with colour, marker and name; more
            classes only with colour, since a legend would be too long.

    Above 5000 points an even share of each class is drawn, always the same points.
    """
    points, ids = np.asarray(embeddings, dtype=np.float64), np.asarray(labels)
    finite = np.isfinite(points).all(axis=1)
    points, ids = points[finite], ids[finite]
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    if not len(points):
        axis.text(0.5, 0.5, "no finite embeddings", transform=axis.transAxes, ha="center", color=GREY)
        return 0
    plane, share = principal_plane(points)
    chosen = _evenly(ids)
    plane, ids = plane[chosen], ids[chosen]
    present = np.unique(ids)
    axis.set_xlabel(f"first principal axis ({share[0]:.0%} of the variance)", fontsize=9)
    axis.set_ylabel(f"second principal axis ({share[1]:.0%})", fontsize=9)
    axis.set_aspect("equal", adjustable="datalim")
    size = float(np.clip(15000 / len(plane), 7, 28))
    if len(present) > MAX_NAMED:
        colors = present.searchsorted(ids)
        axis.scatter(plane[:, 0], plane[:, 1], s=size, c=colors, cmap="turbo", alpha=0.6, linewidths=0)
    else:
        _scatter(axis, plane, ids, present, [for_figure(str(classes[i])) for i in present], size, legend)
    return len(present)


def _evenly(labels: NDArray[Any]) -> NDArray[np.intp]:
    """Positions of the points to draw: even steps through each class, mixed so that no class covers another."""
    order = np.argsort(labels, kind="stable")
    count = min(len(order), MAX_POINTS)
    mixed = np.argsort(np.arange(count) * GOLDEN % 1)
    chosen: NDArray[np.intp] = order[np.linspace(0, len(order) - 1, count).round().astype(np.intp)][mixed]
    return chosen


def _scatter(
    axis: Any,
    plane: NDArray[np.float64],
    ids: NDArray[Any],
    present: NDArray[Any],
    names: Sequence[str],
    size: float,
    legend: bool,
) -> None:
    from matplotlib.colors import to_rgba_array
    from matplotlib.lines import Line2D
    from matplotlib.patheffects import withStroke

    rank = present.searchsorted(ids)
    colors = to_rgba_array([PALETTE[i % len(PALETTE)] for i in range(len(present))])
    looks = [(PALETTE[i % len(PALETTE)], MARKERS[i // len(PALETTE)]) for i in range(len(present))]
    for shape, marker in enumerate(MARKERS):
        mine = rank // len(PALETTE) == shape
        axis.scatter(*plane[mine].T, s=size, c=colors[rank[mine]], marker=marker, alpha=0.6, linewidths=0)
    for i, name in enumerate(names):
        x, y = np.median(plane[rank == i], axis=0)
        halo = [withStroke(linewidth=3, foreground="white")]
        axis.text(x, y, name, fontsize=9, fontweight="bold", ha="center", va="center", path_effects=halo)
    if not legend:
        return
    keys = [
        Line2D([], [], color=color, marker=marker, linestyle="", label=name)
        for (color, marker), name in zip(looks, names, strict=True)
    ]
    axis.legend(handles=keys, fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
