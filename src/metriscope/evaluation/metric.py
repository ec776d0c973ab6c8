"""What there is to know about one logged figure. Imports no torch."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Direction = Literal["max", "min"]
Unit = Literal["share", "count"]

_LIMITS: dict[Unit | None, tuple[float, float]] = {
    "share": (0.0, 1.0),
    "count": (0.0, math.inf),
    None: (-math.inf, math.inf),
}


@dataclass(frozen=True)
class Metric:
    """What there is to know about a figure that runs log.

    Attributes:
        key: as logged, without its split; in a family ``{k}`` stands for a number, as in ``recall_at_{k}``.
        title: as tables and figures call it.
        section: what it is about.
        direction: which end is better; None where neither is, as for a variance.
        definition: one line.
        splits: what it is logged of: ``train``, ``val``, ``test``, or ``course`` for the whole course of a run.
        headline: whether the table at the end of a run shows it.
        unit: ``share`` of a figure from 0 to 1 that tables can give in per cent, ``count`` of a whole number.
        bounds: the least and the largest value that there can be, infinite where there is none; None for those of the
            unit.
    """

    key: str
    title: str
    section: str
    direction: Direction | None
    definition: str
    splits: tuple[str, ...] = ("val", "test")
    headline: bool = False
    unit: Unit | None = None
    bounds: tuple[float, float] | None = None

    @property
    def limits(self) -> tuple[float, float]:
        """The bounds, or those of the unit."""
        return _LIMITS[self.unit] if self.bounds is None else self.bounds

    @property
    def needs_matches(self) -> bool:
        """Whether it is left out of a set where no two samples share a class."""
        return self.section in ("retrieval", "pairs")

    @property
    def may_be_absent(self) -> bool:
        """Whether NaN says that there is nothing to take it over, so that it is left out."""
        return self.needs_matches or self.section == "coverage"

    def named(self, name: str) -> "Metric | None":
        """This metric under a name without split, the number of a family filled in; None for other names."""
        if "{k}" not in self.key:
            return self if name == self.key else None
        head, _, tail = self.key.partition("{k}")
        number = name[len(head) : len(name) - len(tail)]
        if not number.isdecimal() or name != f"{head}{number}{tail}":
            return None
        return replace(self, key=name, title=self.title.format(k=number))

    def members(self, numbers: Iterable[int]) -> "list[Metric]":
        """The metrics of a family with these numbers; the metric itself where it is no family."""
        if "{k}" not in self.key:
            return [self]
        return [replace(self, key=self.key.format(k=k), title=self.title.format(k=k)) for k in dict.fromkeys(numbers)]
