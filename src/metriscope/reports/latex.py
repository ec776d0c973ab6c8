"""The tables of a comparison in LaTeX, to be pasted into a paper."""

import re
from dataclasses import replace

from metriscope.escapes import for_latex, shown
from metriscope.reports.comparison import Comparison
from metriscope.reports.table_style import Style
from metriscope.reports.tables import Shown, Table, tables

_LABELS = ("comparison", "differences")
_POWER = re.compile(r"(\d(?:\.\d+)?)e([+-]\d+)")
_MINUS = re.compile(r"(?<![\w.{])-(?=\d)")
# Letters up to here, and the usual punctuation, are known to pdfLaTeX as it comes.
_KNOWN = "\u017f"
_PUNCTUATION = "‘’“”–—•†‡€™"


def latex(comparison: Comparison, style: Style | None = None) -> str:
    """``tabular`` environments with booktabs rules, one for each table; notes are comments.

    Raises:
        InputError: the style names a column that there is not.
    """
    style = style or Style()
    found = tables(comparison, replace(style, spread=style.spread or "interval"))
    found = tables(comparison, replace(style, spread=style.spread or "interval"))
    body = [_table(table, label) for table, label in zip(found, _LABELS, strict=False)]
    head = ["% needs \\usepackage{booktabs}"]
    if any(character > _KNOWN and character not in _PUNCTUATION for text in body for character in text):
        head.append("% needs XeLaTeX or LuaLaTeX: it holds characters that pdfLaTeX does not know")
    return "\n".join([*head, *(f"% note: {shown(note)}" for note in comparison.notes), *body])


def _table(table: Table, label: str) -> str:
    kinds = "l" * table.names + "r" * (len(table.columns) - table.names)
    rows = [[_cell(cell, place < table.names) for place, cell in enumerate(row)] for row in table.rows]
    return "\n".join(
        [
            "\\begin{table}\n  \\centering",
            f"  \\caption{{{for_latex(table.caption)}}}",
            f"  \\label{{tab:{label}}}",
            f"  \\begin{{tabular}}{{{kinds}}}\n    \\toprule",
            f"    {_row(list(map(for_latex, table.columns)))}\n    \\midrule",
            *(f"    {_row(row)}" for row in rows),
            "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n",
        ]
    )


def _row(cells: list[str]) -> str:
    # A bracket or a star at the beginning would be taken for an argument of the command before.
    guard = "{}" if cells[0][:1] in ("[", "*") else ""
    return f"{guard}{' & '.join(cells)} \\\\"


def _cell(cell: Shown, name: bool) -> str:
    text = for_latex(" ".join(cell.lines))
    if not name:
        text = _POWER.sub(lambda found: f"${found[1]} \\times 10^{{{int(found[2])}}}$", text)
        text = _MINUS.sub("$-$", text)
    return f"\\textbf{{{text}}}" if cell.bold else f"\\underline{{{text}}}" if cell.underlined else text
