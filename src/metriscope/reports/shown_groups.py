"""Which groups of a comparison its figures show, and the look that each method has in all of them."""

from collections.abc import Mapping

import numpy as np

from metriscope.reports.style import Look, look
from metriscope.reports.table_style import Written

MOST_GROUPS, MOST_DATA_SETS = 12, 12


def blocks(written: Written) -> dict[str, list[int]]:
    """Positions of the groups to draw, by title of their data; of many groups the best in the first metric.

    Of many data sets the first: the time to draw grows with the panels.
    """
    comparison = written.comparison
    found: dict[tuple[str, ...], list[int]] = {}
    groups = comparison.grouping.groups
    for place, group in enumerate(groups):
        found.setdefault(group.block, []).append(place)
    metric = next(iter(comparison.metrics), "")
    sign = comparison.direction(metric) or 1

    def rank(place: int) -> float:
        cell = comparison.cells.get((place, metric))
        return -sign * cell.summary.mean if cell else np.inf

    named = {}
    for members in list(found.values())[:MOST_DATA_SETS]:
        name = written.data(groups[members[0]])
        if len(members) > MOST_GROUPS:
            name = f"{name}; best {MOST_GROUPS} of {len(members)}".lstrip("; ")
        named[name] = sorted(sorted(members, key=rank)[:MOST_GROUPS])
    return named


def looks(written: Written) -> Mapping[str, Look]:
    """The look of every method that is drawn for any data set, the same in all panels and figures."""
    groups = written.comparison.grouping.groups
    methods = dict.fromkeys(written.method(groups[place]) for members in blocks(written).values() for place in members)
    return {method: look(place) for place, method in enumerate(methods)}


def titled(written: Written, name: str) -> str:
    """The title of a figure of a comparison."""
    return f"{written.comparison.study.name}: {name}"
