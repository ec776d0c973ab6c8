"""The tables of a comparison as files: CSV, Markdown, LaTeX and JSON."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metriscope.escapes import for_csv, for_latex, for_markdown, shown
from metriscope.files import replacing
from metriscope.reports.comparison import Cell, Comparison, Contrast
from metriscope.reports.tables import Shown, tables

FORMATS = ("csv", "md", "tex", "json")


def write_tables(comparison: Comparison, folder: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write ``comparison.<format>`` for each format, and ``differences.csv`` if there is a baseline.

    Raises:
        OSError: the folder cannot be written.
    """
    paths = []
    for kind in formats:
        paths.append(_write(folder / f"comparison.{kind}", _WRITERS[kind](comparison)))
        if kind == "csv" and comparison.contrasts:
            paths.append(_write(folder / "differences.csv", _csv([_flat(line) for line in comparison.contrasts])))
    return paths


def markdown(comparison: Comparison) -> str:
    """Notes and tables in Markdown."""
    head = [f"# {for_markdown(comparison.study.name)}\n"]
    head += [f"> **Note:** {for_markdown(note)}\n" for note in comparison.notes]
    return "\n".join([*head, markdown_tables(comparison)])


def markdown_tables(comparison: Comparison) -> str:
    """The tables in Markdown, without notes."""
    parts = []
    for table in tables(comparison):
        head = ["---" if place < table.names else "---:" for place in range(len(table.columns))]
        rows = [[_bold(cell, "<br>", "**{}**", for_markdown) for cell in row] for row in table.rows]
        lines = [f"| {' | '.join(cells)} |" for cells in (map(for_markdown, table.columns), head, *rows)]
        parts.append("\n".join(lines) + f"\n\n{for_markdown(table.caption)}\n")
    return "\n".join(parts)


def latex(comparison: Comparison) -> str:
    """``tabular`` environments with booktabs rules, one for each table; notes are comments."""
    parts = ["% needs \\usepackage{booktabs}", *(f"% note: {shown(note)}" for note in comparison.notes)]
    for table in tables(comparison):
        kinds = "l" * table.names + "r" * (len(table.columns) - table.names)
        rows = [[_latex_cell(cell) for cell in row] for row in table.rows]
        parts += [
            "\\begin{table}\n  \\centering",
            f"  \\caption{{{for_latex(table.caption)}}}",
            f"  \\begin{{tabular}}{{{kinds}}}\n    \\toprule",
            f"    {' & '.join(map(for_latex, table.columns))} \\\\\n    \\midrule",
            *(f"    {' & '.join(row)} \\\\" for row in rows),
            "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n",
        ]
    return "\n".join(parts)


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


def _groups_csv(comparison: Comparison) -> str:
    return _csv(
        [
            {**group.values, "metric": metric, **_plain(comparison.cells[place, metric])}
            for metric in comparison.metrics
            for place, group in enumerate(comparison.grouping.groups)
            if (place, metric) in comparison.cells
        ]
    )


_WRITERS: dict[str, Callable[[Comparison], str]] = {
    "csv": _groups_csv,
    "md": markdown,
    "tex": latex,
    "json": as_json,
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


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(for_csv, rows[0] if rows else ["metric"]))
    writer.writerows(map(for_csv, row.values()) for row in rows)
    return text.getvalue()


def _bold(cell: Shown, between: str, mark: str, escape: Callable[[str], str]) -> str:
    return between.join(mark.format(escape(line)) if cell.bold else escape(line) for line in cell.lines)


def _latex_cell(cell: Shown) -> str:
    lines = [f"\\textbf{{{for_latex(line)}}}" if cell.bold else for_latex(line) for line in cell.lines]
    stacked = " \\\\ ".join(lines)
    return stacked if len(lines) == 1 else f"\\begin{{tabular}}{{@{{}}r@{{}}}}{stacked}\\end{{tabular}}"


def _write(path: Path, text: str) -> Path:
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return path
