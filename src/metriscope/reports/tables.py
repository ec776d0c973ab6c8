"""A comparison as tables of text, and their form on a terminal."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from metriscope.reports.comparison import SIGNIFICANT, Cell, Comparison
from metriscope.reports.statistics import Interval

if TYPE_CHECKING:
    from rich.table import Table as RichTable


class Shown(NamedTuple):
    """A cell: its lines, and whether they are bold."""

    lines: Sequence[str]
    bold: bool = False


class Table(NamedTuple):
    """A table of cells with its caption; the first ``names`` columns hold names."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Shown]]
    names: int


def tables(comparison: Comparison) -> list[Table]:
    """The table of groups and, if there is a baseline, the table of differences from it."""
    return [_groups_table(comparison), *([_contrasts_table(comparison)] if comparison.contrasts else [])]


def fitting(table: Table, width: int) -> list[Table]:
    """The table split into parts that fit a width; each repeats the names, and the last has the caption."""
    columns = list(zip(*table.rows, strict=True))
    sizes = [
        3 + max(len(line) for line in (title, *(line for cell in column for line in cell.lines)))
        for title, column in zip(table.columns, columns, strict=True)
    ]
    parts: list[list[int]] = [[]]
    room = width - sum(sizes[: table.names])
    for place in range(table.names, len(columns)):
        if parts[-1] and sum(sizes[i] for i in parts[-1]) + sizes[place] > room:
            parts.append([])
        parts[-1].append(place)
    chosen = [[*range(table.names), *part] for part in parts]
    return [
        Table(
            table.caption if part is chosen[-1] else "",
            [table.columns[i] for i in part],
            [[row[i] for i in part] for row in table.rows],
            table.names,
        )
        for part in chosen
    ]


def rich_table(table: Table) -> "RichTable":
    """The table for a terminal."""
    from rich.markup import escape
    from rich.table import Table as RichTable

    shown = RichTable(caption=table.caption or None, caption_justify="left", pad_edge=False)
    for place, title in enumerate(table.columns):
        shown.add_column(title, justify="left" if place < table.names else "right", no_wrap=True)
    for row in table.rows:
        lines = [escape("\n".join(cell.lines)) for cell in row]
        shown.add_row(*(f"[bold]{text}[/bold]" if cell.bold else text for cell, text in zip(row, lines, strict=True)))
    return shown


def _groups_table(comparison: Comparison) -> Table:
    by, over = comparison.grouping.by, comparison.grouping.over
    digits = {metric: _digits(comparison, metric) for metric in comparison.metrics}
    rows = []
    for place, group in enumerate(comparison.grouping.groups):
        row = [*(Shown([group.values[key]]) for key in by), Shown([str(len(group.runs))])]
        for metric in comparison.metrics:
            row.append(_summary(comparison.cells.get((place, metric)), len(group.runs), digits[metric]))
        rows.append(row)
    caption = f"Mean ± standard deviation over {over}, [95 % t interval of the mean]. Bold: best mean on the same data"
    caption += f"; ≈: not told apart from it (paired t over common {over}, Holm, {SIGNIFICANT:.0%})."
    return Table(caption, [*by, "n", *comparison.metrics], rows, len(by))


def _summary(cell: Cell | None, runs: int, digits: int) -> Shown:
    if cell is None:
        return Shown(["-"])
    n, mean, std, interval = cell.summary.n, cell.summary.mean, cell.summary.std, cell.summary.interval
    tied = "≈ " if cell.mark == "tied" else ""
    missing = f" (n = {n})" if n != runs else ""
    if std is None or interval is None:
        return Shown([f"{tied}{_number(mean, digits)}{missing}", "n = 1"], cell.mark == "best")
    lines = [f"{tied}{_number(mean, digits)} ± {_number(std, digits)}{missing}", _interval(interval, digits)]
    return Shown(lines, cell.mark == "best")


def _contrasts_table(comparison: Comparison) -> Table:
    over = comparison.grouping.over
    columns = ["metric", "group", "minus", "pairs", "difference", "95 % t interval", "95 % bootstrap", "g_z"]
    columns += ["p (t)", "p (Wilcoxon)"]
    rows = []
    for line in comparison.contrasts:
        found, digits = line.difference, _digits(comparison, line.metric)
        cells = [line.metric, str(line.group), str(line.baseline), str(found.n), f"{_number(found.mean, digits, '+')}"]
        cells += [_interval(found.interval, digits), _interval(found.bootstrap, digits)]
        cells += ["-" if found.effect is None else f"{found.effect:+.2f}", _p(line.p_t_holm), _p(line.p_wilcoxon_holm)]
        significant = line.p_t_holm is not None and line.p_t_holm < SIGNIFICANT
        rows.append([Shown([text], significant and place == 4) for place, text in enumerate(cells)])
    caption = f"Differences paired by {over}; g_z: their mean in standard deviations (Hedges); p values adjusted over "
    caption += f"the rows of a metric (Holm). Bold: adjusted p (t) below {SIGNIFICANT:.0%}. n pairs cannot give a "
    caption += "Wilcoxon p below 2 / 2^n."
    return Table(caption, columns, rows, 3)


def _digits(comparison: Comparison, metric: str) -> int:
    """Decimals that give the largest mean of a metric four digits; -1 for the scientific format."""
    means = [abs(cell.summary.mean) for (_, key), cell in comparison.cells.items() if key == metric]
    top = max(means, default=0.0)
    if top == 0:
        return 4
    return max(0, 3 - math.floor(math.log10(top))) if 1e-3 <= top < 1e6 else -1


def _number(value: float, digits: int, sign: str = "") -> str:
    return f"{value:{sign}.3e}" if digits < 0 else f"{value:{sign}.{digits}f}"


def _interval(interval: Interval | None, digits: int) -> str:
    return "-" if interval is None else f"[{_number(interval[0], digits)}, {_number(interval[1], digits)}]"


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}" if value >= 1e-4 else "< 0.0001"
