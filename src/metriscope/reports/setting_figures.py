"""Figure of metrics along a setting with numbers as values, such as a temperature or a batch size."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metriscope.reports.comparison import Comparison
from metriscope.reports.groups import label
from metriscope.reports.scales import value_axis, within
from metriscope.reports.statistics import Summary
from metriscope.reports.study_figures import BAND_FROM
from metriscope.reports.style import PLAIN, Look, heading, look, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DATA = "dataset.name"
_APART = 0.06  # of two lines, as a binary logarithm of the setting


def along_setting(comparison: Comparison, key: str) -> "Figure | None":
    """Mean and 95 % interval of every metric over the values of a setting: a panel for each metric and data set.

    Groups that differ in nothing but the setting are one line. None where no line has two points.

    Args:
        key: one of the grouping keys; groups in which it is no number are left out.
    """
    lines = _lines(comparison, key)
    data = list(dict.fromkeys(name for name, _ in lines))
    shown = [metric for metric in comparison.metrics if any(len(line.get(metric, ())) > 1 for line in lines.values())]
    if not shown:
        return None
    methods = list(dict.fromkeys(method for _, method in lines))
    key_of_looks = {method: look(place) for place, method in enumerate(methods)}
    titles = [f"{heading(metric)}, {name}" if len(data) > 1 else heading(metric) for name in data for metric in shown]
    figure, axes = panels(
        titles,
        columns=min(4, len(shown)),
        width=3.6,
        height=2.75,
        title=f"{comparison.study.name}: along {key}",
        note=f"mean; bar: 95 % interval of {BAND_FROM} runs or more",
        key=key_of_looks,
    )
    places = iter(axes)
    for name in data:
        for metric in shown:
            found = {method: line.get(metric, {}) for (where, method), line in lines.items() if where == name}
            _panel(next(places), key, metric, found, key_of_looks)
    return figure


def _lines(comparison: Comparison, key: str) -> dict[tuple[str, str], dict[str, dict[float, Summary]]]:
    """Summaries by data set and method, by metric, by value of the setting."""
    found: dict[tuple[str, str], dict[str, dict[float, Summary]]] = {}
    for place, group in enumerate(comparison.grouping.groups):
        value = _number(group.values.get(key, ""))
        if value is None:
            continue
        others = {name: text for name, text in group.values.items() if name not in (key, _DATA)}
        line = found.setdefault((group.values.get(_DATA, ""), label(others)), {})
        for metric in comparison.metrics:
            if (place, metric) in comparison.cells:
                line.setdefault(metric, {})[value] = comparison.cells[place, metric].summary
    return found


def _panel(
    axis: "Axes", key: str, metric: str, lines: Mapping[str, Mapping[float, Summary]], looks: Mapping[str, Look]
) -> None:
    """One line with intervals per method over a setting, which is on a binary logarithm if all its values allow it."""
    at = sorted({value for line in lines.values() for value in line})
    logarithmic = bool(at) and at[0] > 0
    edges = []
    for place, (method, line) in enumerate(lines.items()):
        color, style, marker = looks[method]
        x = sorted(line)
        means = [line[value].mean for value in x]
        low, high = (_ends(line, x, side) for side in (0, 1))
        low, high = within(metric, low), within(metric, high)
        # Side by side, so that no bar hides another.
        drawn = np.array(x) * 2 ** (_APART * (place - (len(lines) - 1) / 2)) if logarithmic else x
        axis.plot(drawn, means, linestyle=style, color=color, marker=marker, markersize=4, linewidth=1.5)
        axis.vlines(drawn, low, high, color=color, alpha=0.6, linewidth=1.4)
        edges += [low, high]
    if logarithmic:
        axis.set_xscale("log", base=2)
    _ticks(axis, at)
    axis.set_xlabel(key.rpartition(".")[2].replace("_", " "), fontsize=PLAIN)
    value_axis(axis, metric, [[one.mean for one in line.values()] for line in lines.values()], edges)


def _ends(line: Mapping[float, Summary], x: Sequence[float], side: int) -> NDArray[np.float64]:
    intervals = (line[value].interval if line[value].n >= BAND_FROM else None for value in x)
    return np.array([math.nan if one is None else one[side] for one in intervals])


def _ticks(axis: "Axes", at: Sequence[float]) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

    axis.xaxis.set_major_locator(FixedLocator(list(at)))
    axis.xaxis.set_major_formatter(FixedFormatter([f"{value:g}" for value in at]))
    axis.xaxis.set_minor_locator(NullLocator())


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
