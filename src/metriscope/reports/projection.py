"""Projection of an embedding to two dimensions, and its figure."""

import importlib.util
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metriscope.errors import InputError
from metriscope.escapes import for_figure
from metriscope.reports.style import GREY, MARKERS, PALETTE, PLAIN, SMALL, panels, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

METHODS = ("pca", "tsne", "umap")
MAX_POINTS = 5000
# t-SNE and UMAP take seconds from here on.
MAX_NEIGHBOURING = 2000
MAX_NAMED = 20
_NAME = 24
# Above this a vector file holds the points as a picture.
_MAX_VECTORS = 1500
# Sums of squares of larger components are not finite in float32.
_LARGEST = 1e15
# Height of a name of a class, in inches.
_LINE = 0.15
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


class Plane(NamedTuple):
    """Points of a projection, in an order in which no class covers another.

    Attributes:
        points: (P, 2).
        places: (P,), the position of each among the embeddings.
        axes: what the axes are.
    """

    points: NDArray[np.float64]
    places: NDArray[np.intp]
    axes: tuple[str, str]


def drawable(embeddings: ArrayLike) -> NDArray[np.bool_]:
    """Which rows (N, D) are finite, and not so large that their squares would not be."""
    found: NDArray[np.bool_] = (np.abs(np.asarray(embeddings)) < _LARGEST).all(axis=1)
    return found


def check_method(method: str, where: str) -> None:
    """Refuse a projection that needs a package which is not there.

    Raises:
        InputError: naming ``where``, and the package.
    """
    if method == "umap" and importlib.util.find_spec("umap") is None:
        raise InputError(f"{where}=umap needs a package: pip install umap-learn")


def project(embeddings: NDArray[np.float64], labels: NDArray[Any], method: str = "pca", seed: int = 0) -> Plane:
    """Coordinates by one of the :data:`METHODS`, of an even share of each class where there are many points.

    t-SNE and UMAP see 2,000 points at most, start at the principal axes or at ``seed``, and say how long they took.
    """
    if method == "pca" or len(embeddings) < 5 or np.ptp(embeddings, axis=0).max(initial=0) == 0:
        plane, share = principal_plane(embeddings)
        chosen = _evenly(labels, MAX_POINTS)
        named = (f"first principal axis ({share[0]:.0%} of the variance)", f"second principal axis ({share[1]:.0%})")
        return Plane(plane[chosen], chosen, named)
    chosen = _evenly(labels, MAX_NEIGHBOURING)
    started = time.perf_counter()
    points = _neighbouring(embeddings[chosen].astype(np.float32), method, seed)
    seconds = time.perf_counter() - started
    what = {"tsne": "t-SNE", "umap": "UMAP"}[method]
    said = f"{what} of {len(chosen):,} of {len(embeddings):,} points, seed {seed}, {seconds:.1f} s"
    return Plane(points, chosen, (said, ""))


def _neighbouring(points: NDArray[np.float32], method: str, seed: int) -> NDArray[np.float64]:
    if method == "umap":
        check_method(method, "projection")
        umap: Any = importlib.import_module("umap")
        return np.asarray(umap.UMAP(random_state=seed, n_jobs=1).fit_transform(points), dtype=np.float64)
    from sklearn.manifold import TSNE

    start = "pca" if points.shape[1] > 1 else "random"
    perplexity = min(30.0, (len(points) - 1) / 3)
    found = TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(points)
    return np.asarray(found, dtype=np.float64)


def projection(
    embeddings: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    split: str = "test",
    *,
    title: str = "",
    method: str = "pca",
    seed: int = 0,
) -> "Figure":
    """The embedding on its two principal axes, coloured by class, and another projection beside it if one is asked for.

    Args:
        embeddings, labels, classes: as for :func:`draw_projection`.
        split: name of the embedded split, for the title.
        title: which run it shows.
        method: one of the :data:`METHODS`.
        seed: of methods other than PCA.
    """
    present = len(np.unique(np.asarray(labels)[np.isfinite(np.asarray(embeddings, dtype=np.float64)).all(axis=1)]))
    named = present <= MAX_NAMED
    what = f"Embedding of the {split} set" + ("" if named else f", {present} classes")
    methods = list(dict.fromkeys(("pca", method)))
    room = 1.7 if named else 0.0
    figure, axes = panels([what] * len(methods), width=4.8, height=4.5, title=title, right=room)
    for place, (axis, how) in enumerate(zip(axes, methods, strict=True)):
        last = place == len(methods) - 1
        draw_projection(axis, embeddings, labels, classes, legend=last, method=how, seed=seed)
    return figure


def draw_projection(
    axis: "Axes",
    embeddings: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    legend: bool = True,
    *,
    method: str = "pca",
    seed: int = 0,
) -> int:
    """Draw an embedding in a plane, and return how many classes occur.

    Args:
        embeddings: (N, D), float; rows that are not finite are left out.
        labels: (N,), class ids.
        classes: names by class id. Up to 20 classes are drawn with colour, marker and name; more
            classes only with colour, since a legend would be too long.
        legend: whether the names stand beside the panel, too.
        method, seed: as of :func:`project`.

    Above 5000 points an even share of each class is drawn, always the same points.
    """
    points, ids = np.asarray(embeddings, dtype=np.float64), np.asarray(labels)
    finite = drawable(points)
    points, ids = points[finite], ids[finite]
    axis.set(xticks=[], yticks=[])
    axis.grid(visible=False)
    if not len(points):
        axis.text(0.5, 0.5, "no finite embeddings", transform=axis.transAxes, ha="center", color=GREY)
        return 0
    plane, places, (across, up) = project(points, ids, method, seed)
    ids = ids[places]
    present = np.unique(ids)
    axis.set_xlabel(across, fontsize=PLAIN)
    axis.set_ylabel(up, fontsize=PLAIN)
    axis.set_aspect("equal", adjustable="datalim")
    size = float(np.clip(15000 / len(plane), 7, 28))
    if len(present) > MAX_NAMED:
        colors = present.searchsorted(ids)
        rastered = len(plane) > _MAX_VECTORS
        axis.scatter(
            plane[:, 0], plane[:, 1], s=size, c=colors, cmap="turbo", alpha=0.6, linewidths=0, rasterized=rastered
        )
    else:
        _scatter(axis, plane, ids, present, [for_figure(str(classes[i]), _NAME) for i in present], size, legend)
    return len(present)


def _evenly(labels: NDArray[Any], most: int = MAX_POINTS) -> NDArray[np.intp]:
    """Positions of the points to draw: even steps through each class, mixed so that no class covers another."""
    order = np.argsort(labels, kind="stable")
    count = min(len(order), most)
    mixed = np.argsort(np.arange(count) * GOLDEN % 1)
    chosen: NDArray[np.intp] = order[np.linspace(0, len(order) - 1, count).round().astype(np.intp)][mixed]
    return chosen


def _inches(axis: Any, plane: NDArray[np.float64]) -> float:
    """How long a unit of the plane is on an axis that shows all of it."""
    sizes = np.array(axis.get_position().size) * axis.figure.get_size_inches()
    ranges = np.maximum(np.ptp(plane, axis=0), np.finfo(np.float64).tiny)
    return float((sizes / (1.1 * ranges)).min())


def _moves(centres: NDArray[np.float64], names: Sequence[str]) -> list[float | None]:
    """How far up each name goes, so that none covers another; None for one without a place nearby. All in inches."""
    taken: list[tuple[float, float, float]] = []
    moves: list[float | None] = []
    for (x, y), name in zip(centres.tolist(), names, strict=True):
        half = width_of(name, PLAIN, bold=True) / 2
        free = (
            step * _LINE
            for step in (0, 1, -1, 2, -2, 3, -3)
            if all(abs(x - a) >= half + b or abs(y + step * _LINE - c) > 0.99 * _LINE for a, c, b in taken)
        )
        move = next(free, None)
        moves.append(move)
        taken += [] if move is None else [(x, y + move, half)]
    return moves


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
        axis.scatter(
            *plane[mine].T,
            s=size,
            c=colors[rank[mine]],
            marker=marker,
            alpha=0.6,
            linewidths=0,
            rasterized=len(plane) > _MAX_VECTORS,
        )
    centres = np.array([np.median(plane[rank == i], axis=0) for i in range(len(names))])
    halo = [withStroke(linewidth=3, foreground="white")]
    for centre, name, move in zip(centres, names, _moves(centres * _inches(axis, plane), names), strict=True):
        if move is not None:
            axis.annotate(
                name, centre, (0, 72 * move), textcoords="offset points", fontsize=PLAIN, fontweight="bold",
                ha="center", va="center", path_effects=halo,
            )  # fmt: skip
    if not legend:
        return
    keys = [
        Line2D([], [], color=color, marker=marker, linestyle="", label=name)
        for (color, marker), name in zip(looks, names, strict=True)
    ]
    axis.legend(handles=keys, fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5), borderpad=0)
