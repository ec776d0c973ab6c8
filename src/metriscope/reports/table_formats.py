"""The tables of a comparison as files: CSV, Markdown, LaTeX and JSON."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metriscope.escapes import for_csv, for_markdown
from metriscope.files import replacing
from metriscope.reports.comparison import Cell, Comparison, Contrast
from metriscope.reports.latex import latex
from metriscope.reports.table_style import Style, Written
from metriscope.reports.tables import Shown, Table, tables

FORMATS = ("csv", "md", "tex", "json")


def write_tables(
    comparison: Comparison, folder: Path, formats: Sequence[str] = FORMATS, style: Style | None = None
) -> list[Path]:
    """Write ``comparison.<format>`` for each format, and ``differences.csv`` if there is a baseline.

    JSON holds every figure as it is, whatever the style.

    Raises:
        InputError: the style names a column that there is not.
        OSError: the folder cannot be written.
    """
    paths = []
    for kind in formats:
        paths.append(_write(folder / f"comparison.{kind}", _WRITERS[kind](comparison, style or Style())))
        if kind == "csv" and comparison.contrasts:
            paths.append(_write(folder / "differences.csv", _differences_csv(comparison, style or Style())))
    return paths


def markdown(comparison: Comparison, style: Style | None = None) -> str:
    """Notes and tables in Markdown."""
    head = [f"# {for_markdown(comparison.study.name)}\n"]
    head += [f"> **Note:** {for_markdown(note)}\n" for note in comparison.notes]
    return "\n".join([*head, markdown_tables(comparison, style)])


def markdown_tables(comparison: Comparison, style: Style | None = None) -> str:
    """The tables in Markdown, without notes."""
    return "\n".join(map(markdown_table, tables(comparison, style or Style())))


def markdown_table(table: Table) -> str:
    """A table in Markdown, with its caption below it."""
    head = ["---" if place < table.names else "---:" for place in range(len(table.columns))]
    rows = [[_cell(cell) for cell in row] for row in table.rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (map(for_markdown, table.columns), head, *rows)]
    return "\n".join(lines) + f"\n\n{for_markdown(table.caption)}\n"


def as_json(comparison: Comparison) -> str:
    """Notes, groups with their runs and values, and differences, as JSON."""
    grouping = comparison.grouping
    groups = [
        {
            "values": dict(group.values),
            "runs": [run.name for run in group.runs],
            "metrics": {
                metric: {
                    **_plain(comparison.cells[place, metric]),
                    "values": [run.metrics.get(metric) for run in group.runs],
                }
                for metric in comparison.metrics
                if (place, metric) in comparison.cells
            },
        }
        for place, group in enumerate(grouping.groups)
    ]
    content: dict[str, Any] = {"study": comparison.study.name, "notes": list(comparison.notes)}
    content |= {"by": list(grouping.by), "over": grouping.over, "groups": groups}
    content |= {"differences": [_flat(line) for line in comparison.contrasts]}
    return json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _groups_csv(comparison: Comparison, style: Style) -> str:
    written = Written(comparison, style, names="keys")
    return csv_text(
        [
            {
                **{written.key(key): written.value(key, group) for key in written.keys},
                "metric": written.metric(metric),
                **_in_style(_plain(comparison.cells[place, metric]), written, metric),
            }
            for metric in written.metrics
            for place, group in enumerate(comparison.grouping.groups)
            if (place, metric) in comparison.cells
        ]
    )


def _differences_csv(comparison: Comparison, style: Style) -> str:
    written = Written(comparison, style, names="keys")
    return csv_text(
        [
            {
                **_in_style(_flat(line), written, line.metric),
                "metric": written.metric(line.metric),
                "group": written.group(line.group),
                "baseline": written.group(line.baseline),
            }
            for line in comparison.contrasts
            if line.metric in written.metrics
        ]
    )


# What is measured as the metric itself is.
_FIGURES = ("mean", "std", "low", "high", "difference", "bootstrap_low", "bootstrap_high")


def _in_style(row: dict[str, Any], written: Written, metric: str) -> dict[str, Any]:
    """The row of a table, in per cent and rounded where that is asked for; otherwise every figure as it is."""
    for name in row.keys() & set(_FIGURES):
        value = row[name]
        if value is not None and written.style.digits is not None:
            row[name] = written.number(metric, value)
        elif value is not None:
            row[name] = value * written.scale(metric)
    return row


_WRITERS: dict[str, Callable[[Comparison, Style], str]] = {
    "csv": _groups_csv,
    "md": markdown,
    "tex": latex,
    "json": lambda comparison, style: as_json(comparison),
}


def _plain(cell: Cell) -> dict[str, Any]:
    low, high = cell.summary.interval or (None, None)
    ends = {"low": low, "high": high, "mark": cell.mark}
    return {"n": cell.summary.n, "mean": cell.summary.mean, "std": cell.summary.std, **ends}


def _flat(line: Contrast) -> dict[str, Any]:
    found = line.difference
    low, high = found.interval or (None, None)
    bootstrap_low, bootstrap_high = found.bootstrap or (None, None)
    return {
        "metric": line.metric,
        "group": str(line.group),
        "baseline": str(line.baseline),
        "pairs": found.n,
        "difference": found.mean,
        "low": low,
        "high": high,
        "bootstrap_low": bootstrap_low,
        "bootstrap_high": bootstrap_high,
        "effect": found.effect,
        "p_t": found.p_t,
        "p_t_holm": line.p_t_holm,
        "p_wilcoxon": found.p_wilcoxon,
        "p_wilcoxon_holm": line.p_wilcoxon_holm,
    }


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as CSV; the keys are its columns."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(for_csv, rows[0] if rows else ["metric"]))
    writer.writerows(map(for_csv, row.values()) for row in rows)
    return text.getvalue()


def _cell(cell: Shown) -> str:
    mark = "**{}**" if cell.bold else "<u>{}</u>" if cell.underlined else "{}"
    return "<br>".join(mark.format(for_markdown(line)) for line in cell.lines)


def _write(path: Path, text: str) -> Path:
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path
