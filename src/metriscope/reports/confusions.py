"""Class pairs that an embedding confuses: whose nearest neighbour is of the other class, how often."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from metriscope.escapes import beside, for_figure
from metriscope.reports.style import BLUE, GREY, PLAIN, SMALL, fitted, panels, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 15
_NAME = 28


class Confusion(NamedTuple):
    """Queries of one class whose nearest neighbour is of another.

    Attributes:
        query, neighbour: class ids.
        wrong: how many of these queries there are.
        queries: how many the class has.
    """

    query: int
    neighbour: int
    wrong: int
    queries: int


def confusions(labels: ArrayLike, neighbors: ArrayLike, most: int = MOST) -> list[Confusion]:
    """The most frequent wrong nearest neighbours by class pair, the most frequent first; ties by class id.

    Args:
        labels: (N,), class ids.
        neighbors: (N, K), positions, nearest first; -1 for none, as of samples that are no queries.
        most: how many pairs.
    """
    ids, near = np.asarray(labels), np.asarray(neighbors)
    if not near.size:
        return []
    asking = near[:, 0] >= 0
    own, other = ids[asking], ids[near[asking, 0]]
    pairs, counts = np.unique(np.stack([own, other])[:, own != other], axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [
        Confusion(int(pairs[0, i]), int(pairs[1, i]), int(counts[i]), int((own == pairs[0, i]).sum())) for i in order
    ]


def confused_pairs(labels: ArrayLike, neighbors: ArrayLike, classes: Sequence[str], title: str = "") -> "Figure | None":
    """One bar per class pair; None where every nearest neighbour is right.

    Args:
        labels, neighbors: as of :func:`confusions`.
        classes: names by class id.
        title: which run it shows.
    """
    found = confusions(labels, neighbors)
    if not found:
        return None
    names = [" → ".join(beside(for_figure(classes[at], _NAME)) for at in (one.query, one.neighbour)) for one in found]
    left = max(width_of(name, SMALL) for name in names)
    figure, (axis,) = panels(
        ["Wrong nearest neighbours by class (query → neighbour)"],
        width=6.0,
        height=1.2 + 0.24 * len(found),
        title=title,
        left=max(left - 0.4, 0.0),
        right=0.9,
    )
    places = range(len(found))
    axis.barh(places, [one.wrong for one in found], height=0.65, color=BLUE)
    for place, one in zip(places, found, strict=True):
        axis.text(one.wrong, place, f" {_counted(one)}", fontsize=SMALL, color=GREY, va="center")
    axis.set_yticks(places, names)
    _finish(axis, len(found))
    return figure


_PAIRS = 8
_PANEL = 3.9


def confused_by_group(
    groups: Sequence[tuple[str, Sequence[Confusion], Sequence[str]]], title: str = ""
) -> "Figure | None":
    """A panel for each group with the pairs that it confuses most; None where none confuses any.

    Args:
        groups: the name of each, its pairs, and the names of the classes by class id.
        title: which study it shows.
    """
    most = max((len(found[:_PAIRS]) for _, found, _ in groups), default=0)
    if not most:
        return None
    figure, axes = panels(
        [name for name, _, _ in groups],
        columns=4,
        width=_PANEL,
        height=1.2 + 0.24 * most,
        title=title,
        note="wrong nearest neighbours by class (query → neighbour), in one run of each group",
    )
    for axis, (_, found, classes) in zip(axes, groups, strict=True):
        axis.barh(range(len(found[:_PAIRS])), [one.wrong for one in found[:_PAIRS]], height=0.8, color=BLUE, alpha=0.3)
        axis.set_yticks([])
        for place, one in enumerate(found[:_PAIRS]):
            said = f": {_counted(one)}"
            room = (_PANEL - 1.0 - width_of(said, SMALL)) / 2
            pair = " → ".join(beside(fitted(classes[at], room, SMALL)) for at in (one.query, one.neighbour))
            # On the bar, from the axis on: names of other panels stand left of it.
            axis.annotate(f"{pair}{said}", (0, place), (4, 0), textcoords="offset points", fontsize=SMALL, va="center")
        if not found:
            axis.text(0.5, 0.5, "all are right", transform=axis.transAxes, ha="center", color=GREY)
        _finish(axis, most)
        # One scale for all groups with the same classes.
        alike = [one.wrong for _, others, names in groups if names == classes for one in others]
        axis.set_xlim(0, max(alike, default=1) * 1.05)
    return figure


def _counted(one: Confusion) -> str:
    return f"{one.wrong} of {one.queries} ({one.wrong / one.queries:.0%})"


def _finish(axis: "Axes", pairs: int) -> None:
    axis.set_ylim(pairs - 0.5, -0.5)
    axis.grid(visible=False)
    axis.locator_params(axis="x", integer=True, nbins=6)
    axis.set_xlabel("queries", fontsize=PLAIN)
