"""Methods ranked over data sets or repeats: Friedman's test and Nemenyi's distance (Demšar, JMLR 7, 2006)."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from metriscope.escapes import beside
from metriscope.reports.comparison import SIGNIFICANT, Comparison
from metriscope.reports.shown_groups import looks
from metriscope.reports.style import BLACK, GREY, PLAIN, SMALL, fitted, panels
from metriscope.reports.table_style import Written

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MIN_METHODS, MIN_BLOCKS = 3, 5


class Ranking(NamedTuple):
    """Mean ranks, 1 for the best.

    Attributes:
        metric: metric whose mean over repeats was ranked.
        methods: sorted by mean rank.
        ranks: mean rank of each method over the blocks that all methods ran on.
        blocks: number of these blocks.
        p: p of Friedman's test that all methods are equal.
        critical: smallest difference of mean ranks that is significant (Nemenyi, 5 %).
        over: what the blocks are, ``data sets`` or ``repeats``.
    """

    metric: str
    methods: Sequence[str]
    ranks: Sequence[float]
    blocks: int
    p: float
    critical: float
    over: str = "data sets"


def rank_methods(comparison: Comparison, metric: str | None = None, over_repeats: bool = False) -> Ranking | None:
    """Ranks of the means on each data set; None for fewer than 3 methods or 5 common blocks.

    Args:
        comparison: the comparison.
        metric: its first metric with a direction by default.
        over_repeats: rank the runs of each repeat of each data set instead. Ranks then say how methods order when
            training is repeated, and nothing of other data.
    """
    metric = metric or next((metric for metric in comparison.metrics if comparison.direction(metric)), None)
    methods = list(dict.fromkeys(group.method for group in comparison.grouping.groups))
    means: dict[tuple[str, ...], dict[str, float]] = {}
    for place, group in enumerate(comparison.grouping.groups):
        if metric is None or (place, metric) not in comparison.cells:
            continue
        if not over_repeats:
            means.setdefault(group.block, {})[group.method] = comparison.cells[place, metric].summary.mean
            continue
        for run in group.runs:
            if metric in run.metrics:
                block = (*group.block, *comparison.grouping.repeat(run))
                means.setdefault(block, {})[group.method] = run.metrics[metric]
    complete = [block for block in means.values() if len(block) == len(methods)]
    if metric is None or len(methods) < MIN_METHODS or len(complete) < MIN_BLOCKS:
        return None
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    values = -comparison.direction(metric) * np.array([[block[method] for method in methods] for block in complete])
    ranks = rankdata(values, axis=1).mean(axis=0)
    p = float(friedmanchisquare(*values.T).pvalue)
    k = len(methods)
    critical = (
        studentized_range.ppf(1 - SIGNIFICANT, k, np.inf) / math.sqrt(2) * math.sqrt(k * (k + 1) / 6 / len(values))
    )
    order = np.argsort(ranks, kind="stable")
    return Ranking(
        metric, [methods[i] for i in order], ranks[order].tolist(), len(values), 1.0 if math.isnan(p) else p, critical,
        "repeats" if over_repeats else "data sets",
    )  # fmt: skip


def critical_difference(written: Written, metric: str | None = None, over_repeats: bool = False) -> "Figure | None":
    """The diagram of mean ranks, in which bars join methods without a significant difference; None if unranked.

    Args:
        written: the comparison.
        metric, over_repeats: as of :func:`rank_methods`.
    """
    ranking = rank_methods(written.comparison, metric, over_repeats)
    if ranking is None:
        return None
    count = len(ranking.methods)
    what = f"mean rank in {written.heading(ranking.metric)} over {ranking.blocks} {ranking.over}"
    title = f"{written.comparison.study.name}: {what}"
    note = f"Friedman p = {ranking.p:.2g}; bars join methods without a significant difference (Nemenyi, 5 %)"
    room = 2.2
    figure, (axis,) = panels([""], width=7.5, height=1.4 + 0.26 * count, title=title, note=note, right=room)
    axis.set(xlim=(0.5, count + 0.5), ylim=(-count - 0.5, 1.6), yticks=[])
    axis.spines["left"].set_visible(False)
    axis.grid(visible=False)
    axis.set_xlabel("mean rank (1 is best)", fontsize=PLAIN)
    own = looks(written)
    names = {group.method: written.method(group) for group in written.comparison.grouping.groups}
    for line, (method, rank) in enumerate(zip((names[one] for one in ranking.methods), ranking.ranks, strict=True)):
        color, marker = (own[method].color, own[method].marker) if method in own else (BLACK, "o")
        axis.plot([rank, rank], [-count - 0.5, -line - 0.5], color="#DDDDDD", linewidth=0.8, zorder=0)
        axis.plot([rank], [-line - 0.5], marker, color=color, markersize=5.5)
        shown = f"{beside(fitted(method, room, SMALL))}  {rank:.2f}"
        axis.annotate(shown, (rank, -line - 0.5), (7, 0), textcoords="offset points", fontsize=SMALL + 0.5, va="center")
    for level, (first, last) in enumerate(cliques(ranking)):
        height = -first - 0.95 - 0.1 * (level % 2)
        axis.plot([ranking.ranks[first], ranking.ranks[last]], [height, height], color=GREY, linewidth=3, alpha=0.8)
    axis.plot([1, 1 + ranking.critical], [1.0, 1.0], color=BLACK, marker="|", linewidth=1.2)
    axis.text(1 + ranking.critical / 2, 1.1, f"critical difference {ranking.critical:.2f}", ha="center", fontsize=SMALL)
    return figure


def cliques(ranking: Ranking) -> list[tuple[int, int]]:
    """First and last place of every maximal series of methods without a significant difference."""
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ranking.ranks):
        last = max(place for place, other in enumerate(ranking.ranks) if other - rank < ranking.critical)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found
