"""Retrieval gallery: images of queries beside those of their nearest neighbours."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from metriscope.escapes import for_figure
from metriscope.reports.style import GREY, PLAIN, SMALL, fitted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Bluish green and vermilion, which most colour-blind readers can distinguish; a tick and a cross repeat them.
HIT, MISS = "#007A5A", "#D9480F"
PITCH = 1.24
GROUP_GAP = 0.45
_LINE, _HEAD = 0.16, 0.45
_INCHES = 0.8
# Characters of names below an image.
_CLASS, _FILE = 14, 18


class Images(Protocol):
    """An array (N, C, H, W), or any object that returns the image at a position: uint8 (C, H, W), C = 1 or 3."""

    def __getitem__(self, index: int, /) -> ArrayLike: ...


def choose_queries(
    labels: ArrayLike, neighbors: ArrayLike, worst: int = 3, chance: int = 3, seed: int = 0
) -> dict[str, list[int]]:
    """The queries to show: the worst ones, and a random choice for typical results.

    Args:
        labels: (N,), class ids of the evaluated set.
        neighbors: (N, K), positions of each query's neighbours, nearest first, without itself; -1 for none.
        worst: number of queries with the lowest average precision over their K neighbours; ties go to the earlier
            query. Queries whose class has no other member cannot succeed and are not chosen.
        chance: number of random queries other than the worst; they depend on ``seed`` and N alone.
    """
    from metriscope.seeds import derive

    ids, near = np.asarray(labels), np.asarray(neighbors)
    hits = (ids[near] == ids[:, None]) & (near >= 0)
    ranks = np.arange(1, near.shape[1] + 1)
    precision = (hits * hits.cumsum(axis=1) / ranks).sum(axis=1) / near.shape[1]
    _, inverse, sizes = np.unique(ids, return_inverse=True, return_counts=True)
    answerable = np.flatnonzero((sizes[inverse] > 1) & (near >= 0).any(axis=1))
    bad = answerable[np.argsort(precision[answerable], kind="stable")][:worst].tolist()
    rest = [int(i) for i in answerable if i not in bad]
    drawn = sorted(rest, key=lambda i: derive(seed, "gallery", len(ids), i))[:chance]
    return {"worst": bad, "random": sorted(drawn)}


def retrieval_gallery(
    images: Images,
    labels: ArrayLike,
    neighbors: ArrayLike,
    queries: Mapping[str, Sequence[int]],
    classes: Sequence[str],
    columns: int = 8,
    *,
    embeddings: ArrayLike | None = None,
    paths: Sequence[str] | None = None,
    title: str = "",
) -> "Figure":
    """One row per query with its nearest neighbours: hits framed green with a tick, misses red with a cross.

    Below each image stands its class, and where they are given, the distance to the query and the file.

    Args:
        images: images of the evaluated set by position.
        labels: (N,), class ids.
        neighbors: (N, K), positions, nearest first; -1 for none.
        queries: positions by the name of their group, as :func:`choose_queries` returns them.
        classes: names by class id.
        columns: number of neighbours to show, at most K.
        embeddings: (N, D), for the Euclidean distances of neighbours.
        paths: image files by position.
        title: which run it shows.
    """
    from matplotlib.figure import Figure

    ids, near = np.asarray(labels), np.asarray(neighbors)[:, :columns]
    z = None if embeddings is None else np.asarray(embeddings, dtype=np.float64)

    def below(place: int, query: int) -> list[str]:
        apart = [] if z is None or place == query else [f"{np.linalg.norm(z[place] - z[query]):#.3g}"]
        return apart + ([] if paths is None else [for_figure(PurePosixPath(paths[place]).name, _FILE)])

    lines = int(z is not None) + int(paths is not None)
    pitch = PITCH + _LINE * lines
    groups = {name: rows for name, rows in queries.items() if rows}
    head = _HEAD * bool(title)
    height = pitch * sum(map(len, groups.values())) + GROUP_GAP * len(groups) + head
    width = PITCH * (near.shape[1] + 1) + 0.35
    figure = Figure(figsize=(_INCHES * width, _INCHES * height + 0.15))
    axis = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    if title:
        axis.text(
            0.05,
            head / 2,
            fitted(title, 0.95 * _INCHES * width, 12, bold=True),
            fontsize=12,
            fontweight="bold",
            va="center",
        )
    axis.axis("off")
    top = head
    for name, rows in groups.items():
        axis.text(0.05, top + 0.22, f"{name} queries", fontsize=PLAIN, fontweight="bold", va="center")
        told = "nearest neighbours, closest first" + ("" if z is None else ", with their distance")
        axis.text(PITCH + 0.35, top + 0.22, told, fontsize=PLAIN, color=GREY, va="center")
        top += GROUP_GAP
        axis.plot([PITCH + 0.08] * 2, [top, top + pitch * len(rows) - 0.24], color="#CCCCCC", linewidth=1)
        for query in rows:
            _tile(axis, images[query], 0.05, top, classes[ids[query]], None, below(query, query))
            for place, other in enumerate(near[query].tolist()):
                if other >= 0:
                    left = 0.35 + PITCH * (place + 1)
                    hit = bool(ids[other] == ids[query])
                    _tile(axis, images[other], left, top, classes[ids[other]], hit, below(other, query))
            top += pitch
    axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    return figure


def _tile(
    axis: "Axes", image: ArrayLike, left: float, top: float, name: str, hit: bool | None, below: Sequence[str]
) -> None:
    from matplotlib.image import AxesImage
    from matplotlib.patches import Rectangle

    pixels = np.moveaxis(np.asarray(image, dtype=np.uint8), 0, -1)
    pixels = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
    color = {True: HIT, False: MISS, None: "black"}[hit]
    # What imshow adds to this, limits and aspect of the axes, costs more than the image.
    shown = AxesImage(axis, extent=(left, left + 1, top + 1, top), interpolation="nearest")
    shown.set_data(pixels)
    axis.add_artist(shown)
    style = "--" if hit is False else "-"
    axis.add_patch(Rectangle((left, top), 1, 1, fill=False, edgecolor=color, linewidth=2.5, linestyle=style))
    mark = {True: "✓ ", False: "✗ ", None: ""}[hit]
    where: dict[str, Any] = {"ha": "center", "va": "center"}
    middle = left + 0.5
    axis.text(middle, top + 1.12, mark + for_figure(name, _CLASS), fontsize=SMALL - 0.5, color=color, **where)
    for line, words in enumerate(below, start=1):
        axis.text(middle, top + 1.12 + _LINE * line, words, fontsize=SMALL - 1.5, color=GREY, **where)
