"""A comparison as one self-contained HTML file: notes, tables and figures."""

from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

from metriscope.escapes import for_html
from metriscope.files import replacing
from metriscope.reports.comparison import Comparison
from metriscope.reports.tables import Shown, Table, tables

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1300px; padding: 0 1rem; color: #222 }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
td, th { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
.name { text-align: left } .note { background: #fff4d6; padding: .4rem .8rem; margin: .3rem 0 }
caption { caption-side: bottom; text-align: left; padding: .5rem 0; color: #555; white-space: normal }
img { max-width: 100%; height: auto }
"""


def write_page(comparison: Comparison, figures: Sequence[Path], path: Path) -> Path:
    """Write the page with the PNG files among ``figures``, and return its path.

    Raises:
        OSError: the folder cannot be written.
    """
    title = for_html(comparison.study.name)
    parts = [f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>"]
    parts.append(f"<style>{STYLE}</style><h1>{title}</h1>")
    parts += [f"<p class='note'>{for_html(note)}</p>" for note in comparison.notes]
    parts += [html_table(table) for table in tables(comparison)]
    for figure in figures:
        if figure.suffix == ".png":
            name, data = for_html(figure.stem.replace("_", " ")), b64encode(figure.read_bytes()).decode()
            parts.append(f"<h2>{name}</h2><img alt='{name}' src='data:image/png;base64,{data}'>")
    with replacing(path) as draft:
        draft.write_text("\n".join([*parts, "</html>\n"]), encoding="utf-8")
    return path


def html_table(table: Table) -> str:
    """A table with its caption."""
    names = ["class='name'" if place < table.names else "" for place in range(len(table.columns))]
    head = "".join(f"<th {kind}>{for_html(title)}</th>" for kind, title in zip(names, table.columns, strict=True))
    rows = [
        "".join(f"<td {kind}>{_cell(cell)}</td>" for kind, cell in zip(names, row, strict=True)) for row in table.rows
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    caption = f"<caption>{for_html(table.caption)}</caption>"
    return f"<div class='wide'><table>{caption}<tr>{head}</tr>\n{body}</table></div>"


def _cell(cell: Shown) -> str:
    text = "<br>".join(map(for_html, cell.lines))
    return f"<b>{text}</b>" if cell.bold else f"<u>{text}</u>" if cell.underlined else text
