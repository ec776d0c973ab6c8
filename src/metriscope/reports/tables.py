"""A comparison as tables of text, and their form on a terminal."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from metriscope.reports.comparison import SIGNIFICANT, Cell, Comparison
from metriscope.reports.table_style import COUNT, Style, Written

if TYPE_CHECKING:
    from rich.console import Group

# Characters of a line of a heading where a table does not fit.
_HEADING = 24
# Characters of a line of a caption at least.
_CAPTION = 78


class Shown(NamedTuple):
    """A cell: its lines, and whether they are bold or underlined."""

    lines: Sequence[str]
    bold: bool = False
    underlined: bool = False


class Table(NamedTuple):
    """A table of cells with its caption; the first ``names`` columns hold names."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Shown]]
    names: int


def tables(comparison: Comparison, style: Style | None = None) -> list[Table]:
    """The table of groups and, if there is a baseline, the table of differences from it.

    Args:
        comparison: the comparison.
        style: None for all columns by their keys.

    Raises:
        InputError: the style names a column that there is not.
    """
    written = Written(comparison, style or Style(names="keys"))
    found = [_groups_table(comparison, written)]
    if any(line.metric in written.metrics for line in comparison.contrasts):
        found.append(_contrasts_table(comparison, written))
    return found


def fitting(table: Table, width: int) -> list[Table]:
    """The table split into parts that fit a width; each repeats the names, and the last has the caption."""
    sizes = _sizes(table)
    if sum(sizes) <= width:
        return [table]
    table = _narrow(table, sizes, width)
    sizes = _sizes(table)
    parts: list[list[int]] = [[]]
    room = width - sum(sizes[: table.names])
    for place in range(table.names, len(sizes)):
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


def _sizes(table: Table) -> list[int]:
    """The characters that each column takes, its borders included."""
    return [
        3 + max(len(line) for line in (*title.split("\n"), *(line for row in table.rows for line in row[place].lines)))
        for place, title in enumerate(table.columns)
    ]


def _narrow(table: Table, sizes: Sequence[int], width: int) -> Table:
    """The table with long headings in several lines, and long names where they would take most of the width."""
    longest = max(8, width // 2 // max(1, table.names) - 3) if sum(sizes[: table.names]) > width // 2 else width
    rows = [
        [
            Shown([part for line in cell.lines for part in _lines(line, longest)], cell.bold, cell.underlined)
            if place < table.names
            else cell
            for place, cell in enumerate(row)
        ]
        for row in table.rows
    ]
    heads = [
        "\n".join(_lines(title, longest if place < table.names else _HEADING))
        for place, title in enumerate(table.columns)
    ]
    return Table(table.caption, heads, rows, table.names)


def _lines(text: str, length: int) -> list[str]:
    return textwrap.wrap(text, length, break_on_hyphens=False) or [text]


def rich_table(table: Table) -> "Group":
    """The table for a terminal, and its caption below it."""
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table as RichTable
    from rich.text import Text

    shown = RichTable(pad_edge=False)
    for place, title in enumerate(table.columns):
        shown.add_column(escape(title), justify="left" if place < table.names else "right", no_wrap=True)
    for row in table.rows:
        lines = [escape("\n".join(cell.lines)) for cell in row]
        shown.add_row(*(_marked(cell, text) for cell, text in zip(row, lines, strict=True)))
    # A caption of the table itself would be as narrow as a table of two columns.
    caption = textwrap.fill(table.caption, max(_CAPTION, sum(_sizes(table))))
    return Group(shown, Text(caption, style="italic")) if caption else Group(shown)


def _marked(cell: Shown, text: str) -> str:
    if cell.bold or cell.underlined:
        style = "bold" if cell.bold else "underline"
        return f"[{style}]{text}[/{style}]"
    return text


def _groups_table(comparison: Comparison, written: Written) -> Table:
    ranks = {metric: _ranks(comparison, written, metric) for metric in written.metrics}
    rows = []
    for place, group in enumerate(comparison.grouping.groups):
        row = [Shown([written.value(key, group)]) for key in written.keys]
        for column in written.rest:
            if column == COUNT:
                row.append(Shown([str(len(group.runs))]))
            else:
                cell, rank = comparison.cells.get((place, column)), ranks[column].get(place)
                lines = _summary(cell, len(group.runs), written, column, tied=rank != 1)
                row.append(Shown(lines, rank == 1, rank == 2))
        rows.append(row)
    heads = [written.metric(column) if column != COUNT else COUNT for column in written.rest]
    alone = any(cell.summary.interval is None for cell in comparison.cells.values())
    caption = _caption(written.style.spread or "both", comparison.grouping.over, alone)
    return Table(caption, [*map(written.key, written.keys), *heads], rows, len(written.keys))


def _caption(spread: str, over: str, alone: bool) -> str:
    words = {
        "both": f"Mean ± standard deviation over {over}, [95 % t interval of the mean]",
        "interval": f"Mean ± half of its 95 % t interval over {over}",
        "std": f"Mean ± standard deviation over {over}",
    }
    single = "; without ±: a single run" if alone and spread != "both" else ""
    return (
        f"{words[spread]}{single}. Bold: best mean on the same data; underlined: second best; ≈: not told apart from "
        f"the best (paired t over common {over}, Holm, {SIGNIFICANT:.0%})."
    )


def _ranks(comparison: Comparison, written: Written, metric: str) -> dict[int, int]:
    """1 for the best means of every block and 2 for the second best, by position of the group; equal as written."""
    sign = comparison.direction(metric)
    blocks: dict[tuple[str, ...], dict[int, float]] = {}
    for place, group in enumerate(comparison.grouping.groups):
        if sign and (cell := comparison.cells.get((place, metric))) is not None:
            blocks.setdefault(group.block, {})[place] = sign * float(written.number(metric, cell.summary.mean))
    ranks = {}
    for means in blocks.values():
        best = sorted(set(means.values()), reverse=True)[:2]
        if len(means) > 1:
            ranks.update({place: best.index(mean) + 1 for place, mean in means.items() if mean in best})
    return ranks


def _summary(cell: Cell | None, runs: int, written: Written, metric: str, tied: bool) -> list[str]:
    if cell is None:
        return ["-"]
    n, mean, std, interval = cell.summary.n, cell.summary.mean, cell.summary.std, cell.summary.interval
    spread = written.style.spread or "both"
    missing = f" (n = {n})" if n != runs else ""
    text = f"{'≈ ' if tied and cell.mark == 'tied' else ''}{written.number(metric, mean)}"
    if std is None or interval is None:
        return [f"{text}{missing}", *(["n = 1"] if spread == "both" else [])]
    beside = (interval[1] - interval[0]) / 2 if spread == "interval" else std
    line = f"{text} ± {written.number(metric, beside)}{missing}"
    return [line, written.interval(metric, interval)] if spread == "both" else [line]


def _contrasts_table(comparison: Comparison, written: Written) -> Table:
    over = comparison.grouping.over
    columns = ["metric", "group", "minus", "pairs", "difference", "95 % t interval", "95 % bootstrap", "g_z"]
    columns += ["p (t)", "p (Wilcoxon)"]
    rows = []
    for line in comparison.contrasts:
        found, metric = line.difference, line.metric
        if metric not in written.metrics:
            continue
        cells = [written.metric(metric), written.group(line.group), written.group(line.baseline), str(found.n)]
        cells += [written.number(metric, found.mean, "+"), written.interval(metric, found.interval)]
        cells += [written.interval(metric, found.bootstrap), "-" if found.effect is None else f"{found.effect:+.2f}"]
        cells += [p_value(line.p_t_holm), p_value(line.p_wilcoxon_holm)]
        significant = line.p_t_holm is not None and line.p_t_holm < SIGNIFICANT
        rows.append([Shown([text], significant and place == 4) for place, text in enumerate(cells)])
    caption = f"Differences paired by {over}; g_z: their mean in standard deviations (Hedges); p values adjusted over "
    caption += f"the rows of a metric (Holm). Bold: adjusted p (t) below {SIGNIFICANT:.0%}. n pairs cannot give a "
    caption += "Wilcoxon p below 2 / 2^n."
    return Table(caption, columns, rows, 3)


def p_value(value: float | None) -> str:
    """A p value as tables write it."""
    return "-" if value is None else f"{value:.4f}" if value >= 1e-4 else "< 0.0001"
