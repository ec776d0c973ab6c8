"""How the tables of a comparison are written: columns, names, per cent, digits and spread."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from metriscope.config.files import title
from metriscope.errors import InputError, nearest
from metriscope.reports.comparison import Comparison, described
from metriscope.reports.groups import Group, label, of_data, text
from metriscope.reports.style import heading

NAMES = ("titles", "keys")
SPREADS = ("both", "interval", "std")
MOST_DIGITS = 12
COUNT = "n"
"""The column that says how many runs a group has."""


@dataclass(frozen=True)
class Style:
    """Choices of how tables are written.

    Attributes:
        percent: whether shares, such as Recall@1, are given in per cent.
        digits: decimals of every figure; None for as many as give the largest mean of a metric four digits.
        columns: config keys with one value in each group, ``n`` and metrics, in this order, keys first; none for all.
            Without a key among them all grouping keys are shown.
        names: ``titles`` as papers write them, or ``keys`` as a command line does; None for titles where people read.
        spread: what stands beside a mean: half of its ``interval``, ``std``, or ``both`` in two lines; None for both,
            and in LaTeX for the interval.

    Raises:
        InputError: the number of digits is out of range.
    """

    percent: bool = False
    digits: int | None = None
    columns: Sequence[str] = ()
    names: Literal["titles", "keys"] | None = None
    spread: Literal["both", "interval", "std"] | None = None

    def __post_init__(self) -> None:
        if self.digits is not None and not 0 <= self.digits <= MOST_DIGITS:
            raise InputError(f"digits {self.digits}: give a whole number from 0 to {MOST_DIGITS}")


class Written:
    """The words and numbers of a comparison's tables, figures and page in a style.

    Args:
        comparison: the comparison.
        style: the style; None for that of the tables.
        names: what None in the style stands for.

    Attributes:
        keys: the shown config keys.
        metrics: the shown metrics.
        rest: the shown metrics and ``n``, in order.

    Raises:
        InputError: the style names a column that the comparison does not have.
    """

    def __init__(self, comparison: Comparison, style: Style | None = None, names: str = "titles") -> None:
        style = style or Style()
        self.comparison = comparison
        self.style = style
        self.titles = (style.names or names) == "titles"
        self._values: dict[str, set[str]] = {}
        metrics = comparison.metrics
        chosen = list(dict.fromkeys(style.columns))
        keys = [column for column in chosen if column not in (COUNT, *metrics)]
        for key in keys:
            _check_key(key, comparison)
        _check_told_apart(keys, comparison)
        self.keys = keys or list(comparison.grouping.by)
        self.rest = [column for column in chosen if column not in keys] or [COUNT, *metrics]
        self.metrics = [column for column in self.rest if column != COUNT]
        self._digits = {metric: self._decimals(metric) for metric in metrics}
        said = [self._metric(metric) for metric in metrics]
        self._alike = {one for one in said if said.count(one) > 1}

    def key(self, key: str) -> str:
        """The heading of a config key."""
        return key.removesuffix(".name").replace(".", " ").replace("_", " ") if self.titles else key

    def value(self, key: str, group: Group) -> str:
        """The value of a config key in a group."""
        return self.named(key, _value(key, group))

    def named(self, key: str, value: str) -> str:
        """A value of a config key; as it is where another value of the key has the same title."""
        part, _, last = key.rpartition(".")
        if not self.titles or last != "name":
            return value
        if key not in self._values:
            self._values[key] = {text(run.config, key) for run in self.comparison.study.runs}
        said = title(part, value)
        alike = any(other != value and title(part, other) == said for other in self._values[key])
        return value if alike else said

    def group(self, group: Group) -> str:
        """The label of a group."""
        return self._label(group, group.values)

    def method(self, group: Group) -> str:
        """The label that tells a group from others with the same data."""
        return self._label(group, [key for key in group.values if not of_data(key)])

    def data(self, group: Group) -> str:
        """The label of a group's data; empty where all groups have the same."""
        return self._label(group, [key for key in group.values if of_data(key)]) if group.block else ""

    def _label(self, group: Group, keys: Iterable[str]) -> str:
        return label({key: self.value(key, group) for key in keys})

    def heading(self, metric: str) -> str:
        """The heading of a panel or chart: a metric with its split."""
        known = described(metric, self.comparison.recorded)
        return heading(metric, known.title if known else "") if self.titles else metric

    def metric(self, metric: str) -> str:
        """The heading of a metric; its key where two metrics have one title."""
        said = self._metric(metric)
        return f"{metric if said in self._alike else said}{' (%)' if self.scale(metric) != 1 else ''}"

    def scale(self, metric: str) -> int:
        """What values of a metric are multiplied with."""
        known = described(metric, self.comparison.recorded)
        return 100 if self.style.percent and known is not None and known.unit == "share" else 1

    def number(self, metric: str, value: float, sign: str = "") -> str:
        """A value of a metric, or a difference of two."""
        return self._text(value * self.scale(metric), self._digits[metric], sign)

    def interval(self, metric: str, interval: tuple[float, float] | None) -> str:
        """An interval of values of a metric."""
        return "-" if interval is None else f"[{', '.join(self.number(metric, end) for end in interval)}]"

    def _metric(self, metric: str) -> str:
        known = described(metric, self.comparison.recorded)
        if known is None or not self.titles:
            return metric
        split = metric.rpartition("/")[0].replace("/", " ")
        return known.title if split in ("", "test") else f"{known.title}, {split}"

    def _decimals(self, metric: str) -> int:
        """Decimals of a metric's figures; -1 for the scientific format."""
        means = [abs(cell.summary.mean) for (_, key), cell in self.comparison.cells.items() if key == metric]
        top = max(means, default=0.0) * self.scale(metric)
        digits = self.style.digits
        if top == 0:
            return 4 if digits is None else digits
        if top >= 1e6 or top < (1e-3 if digits is None else 0.5 * 10**-digits):
            return -1
        return max(0, 3 - math.floor(math.log10(top))) if digits is None else digits

    def _text(self, value: float, digits: int, sign: str) -> str:
        scientific = 3 if self.style.digits is None else self.style.digits
        return f"{value:{sign}.{scientific}e}" if digits < 0 else f"{value:{sign}.{digits}f}"


def _check_key(key: str, comparison: Comparison) -> None:
    """Refuse a column that is neither a grouping key nor a config key with one value in every group."""
    by, groups = comparison.grouping.by, comparison.grouping.groups
    if key in by:
        return
    if not any(key in run.config for group in groups for run in group.runs):
        metrics = sorted({metric for group in groups for run in group.runs for metric in run.metrics})
        guess = nearest(key, [*by, COUNT, *metrics])
        raise InputError(f"column {key}: no key of the groups and no metric has this name{guess}")
    if any(len({text(run.config, key) for run in group.runs}) > 1 for group in groups):
        raise InputError(f"column {key}: runs of one group differ in it; groups are by {', '.join(by)}")


def _check_told_apart(keys: Sequence[str], comparison: Comparison) -> None:
    """Refuse keys that leave rows of different groups alike."""
    by, groups = comparison.grouping.by, comparison.grouping.groups
    if keys and len({tuple(_value(key, group) for key in keys) for group in groups}) < len(groups):
        others = ", ".join(key for key in by if key not in keys)
        raise InputError(
            f"columns {', '.join(keys)}: groups that differ in {others} would look alike; add a column, "
            "or choose one value with --where"
        )


def _value(key: str, group: Group) -> str:
    return group.values[key] if key in group.values else text(group.runs[0].config, key)
