"""Sides of a statement: one figure from the runs of some groups at one seed, such as a lowest value or a slope."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

How = Literal["least", "most", "slope", "peak", "spread", "change", "mean", "gain"]
_NOWHERE: Mapping[str, Any] = MappingProxyType({})
EXPLAINED: Mapping[How, str] = {
    "most": "Where several groups stand on a side, the lowest of the one is compared with the highest of the other.",
    "slope": "A slope is that of the least-squares line over the binary logarithm of the setting: gain per doubling.",
    "peak": "The best setting is where the metric is highest, as a binary logarithm: 1 is a doubling.",
    "spread": "A spread is the highest value over the settings minus the lowest.",
    "change": "A change is the value after minus the value before, at the same seed.",
    "mean": "Where several groups are meant, their mean at one seed is compared.",
    "gain": "A gain is the mean of some groups minus the mean of others, at the same seed.",
}
"""What the words of a page mean, by kind of side."""


@dataclass(frozen=True)
class Side:
    """One figure from the values of a metric at one seed.

    Attributes:
        how: which figure.
        cells: groups of runs, each by the values of its config keys.
        at: for figures along a setting, its value in each cell.
    """

    how: How
    cells: Sequence[Mapping[str, Any]]
    at: Sequence[float] = ()

    def of(self, values: Sequence[float]) -> float:
        """The figure, from one value per cell."""
        return _FIGURES[self.how](values, self.at)


def least(*cells: Mapping[str, Any]) -> Side:
    """The lowest value of the cells."""
    return Side("least", cells)


def most(*cells: Mapping[str, Any]) -> Side:
    """The highest value of the cells."""
    return Side("most", cells)


def change(after: Mapping[str, Any], before: Mapping[str, Any]) -> Side:
    """The value of one cell minus that of another."""
    return Side("change", (after, before))


def mean(*cells: Mapping[str, Any]) -> Side:
    """The mean over the cells."""
    return Side("mean", cells)


def gain(after: Sequence[Mapping[str, Any]], before: Sequence[Mapping[str, Any]]) -> Side:
    """The mean over some cells minus the mean over as many others."""
    return Side("gain", [*after, *before])


def slope(key: str, values: Sequence[float], where: Mapping[str, Any] = _NOWHERE) -> Side:
    """The slope of the metric over the binary logarithm of a setting, all values above 0."""
    return _along("slope", key, values, where)


def peak(key: str, values: Sequence[float], where: Mapping[str, Any] = _NOWHERE) -> Side:
    """The binary logarithm of the setting with the highest value; the first of equal ones."""
    return _along("peak", key, values, where)


def spread(key: str, values: Sequence[float], where: Mapping[str, Any] = _NOWHERE) -> Side:
    """The highest value over a setting minus the lowest."""
    return _along("spread", key, values, where)


def _along(how: How, key: str, values: Sequence[float], where: Mapping[str, Any]) -> Side:
    return Side(how, [{**where, key: value} for value in values], values)


def _slope(values: Sequence[float], at: Sequence[float]) -> float:
    x = [math.log2(value) for value in at]
    centre = sum(x) / len(x)
    return sum((a - centre) * y for a, y in zip(x, values, strict=True)) / sum((a - centre) ** 2 for a in x)


def _peak(values: Sequence[float], at: Sequence[float]) -> float:
    return math.log2(at[max(range(len(values)), key=values.__getitem__)])


_FIGURES: Mapping[How, Callable[[Sequence[float], Sequence[float]], float]] = {
    "least": lambda values, _: min(values),
    "most": lambda values, _: max(values),
    "slope": _slope,
    "peak": _peak,
    "spread": lambda values, _: max(values) - min(values),
    "change": lambda values, _: values[0] - values[1],
    "mean": lambda values, _: sum(values) / len(values),
    "gain": lambda values, _: 2 * (sum(values[: len(values) // 2]) - sum(values[len(values) // 2 :])) / len(values),
}
