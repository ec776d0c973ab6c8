"""Losses by which a page colours and filters everything that belongs to a run."""

from dataclasses import dataclass

from metriscope.reports.groups import Group, text
from metriscope.reports.style import PALETTE
from metriscope.reports.table_style import Written
from metriscope.run.study import StudyRun

DASHES = ([1, 0], [7, 3], [2, 2], [7, 2, 2, 2])


@dataclass(frozen=True)
class Series:
    """The losses of a study; where all groups have one loss, their other settings.

    Attributes:
        what: what the names are names of.
        names: by position.
        of_group: the position of each group of the comparison.
        of_run: the position of each run by its name; unfinished runs have none where their loss does not tell it.
    """

    what: str
    names: list[str]
    of_group: list[int]
    of_run: dict[str, int]

    @property
    def colors(self) -> list[str]:
        """By position; after the last colour the first follows, with another dash."""
        return [PALETTE[place % len(PALETTE)] for place in range(len(self.names))]

    @property
    def dashes(self) -> list[list[int]]:
        """By position."""
        return [DASHES[place // len(PALETTE) % len(DASHES)] for place in range(len(self.names))]


def series(written: Written) -> Series:
    """The losses of the runs, or the groups' settings where the runs have only one loss."""
    comparison = written.comparison
    groups = comparison.grouping.groups
    names: dict[str, int] = {}

    def loss(run: StudyRun) -> str:
        return written.named("loss.name", text(run.config, "loss.name"))

    losses = len({loss(run) for group in groups for run in group.runs})

    def place(group: Group) -> int:
        name = written.method(group) if losses == 1 else loss(group.runs[0])
        return names.setdefault(name, len(names))

    of_group = [place(group) for group in groups]
    of_run = {run.name: at for group, at in zip(groups, of_group, strict=True) for run in group.runs}
    if losses > 1:  # a group may mix losses, and an unfinished run has none
        of_run = {run.name: names.setdefault(loss(run), len(names)) for run in comparison.study.runs}
    return Series("settings" if losses == 1 else "loss", list(names), of_group, of_run)
