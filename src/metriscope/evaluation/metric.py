"""What there is to know about one logged figure. Imports no torch."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

Direction = Literal["max", "min"]


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
    """

    key: str
    title: str
    section: str
    direction: Direction | None
    definition: str
    splits: tuple[str, ...] = ("val", "test")
    headline: bool = False
    unit: Literal["share", "count"] | None = None

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
