"""A comparison as one self-contained HTML file: cautions, what was run, tables, charts and pictures.

A browser asks no host for anything, and runs no script but those of this package, whatever texts the runs hold.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from metriscope.escapes import cleaned, for_html
from metriscope.files import replacing
from metriscope.reports.comparison import Comparison
from metriscope.reports.html.bundle import EXTRA, as_script, file, has_library, library, policy
from metriscope.reports.html.charts import Chart
from metriscope.reports.html.facts import commands_table, facts_table, runs_table, state
from metriscope.reports.html.pictured import Pictured, pictured
from metriscope.reports.html.sections import sections
from metriscope.reports.html.series import Series, series
from metriscope.reports.study_figures import BAND_FROM, CURVES
from metriscope.reports.style import guarded
from metriscope.reports.table_style import Style, Written
from metriscope.reports.tables import Shown, Table, tables

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 1300px; padding: 0 1rem; color: #222 }
.wide { overflow-x: auto } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
td, th { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
.name { text-align: left } .note { background: #fff4d6; padding: .4rem .8rem; margin: .3rem 0 }
.caption { padding: .2rem 0; margin: 0; color: #555; font-size: 13px }
img { max-width: 100%; height: auto }
"""

_TALL = 25  # rows from which a table scrolls in its own box
_READ = ("spec", "rows", "curves", "tip", "limits")  # of a chart by the script
_SAID = {
    "Curves": (
        f"Bold: mean; band: 95 % interval of {BAND_FROM} runs or more, cut where it is very wide; thin: single runs "
        "where there are fewer. The tip of a curve has the true ends."
    ),
    "Final values": f"Large: mean; line: 95 % interval of {BAND_FROM} runs or more; small: single runs.",
}
_PROJECTED = {
    "pca": "Test embeddings on their principal axes",
    "tsne": "Test embeddings by t-SNE",
    "umap": "Test embeddings by UMAP",
}
# Figures that charts and tables of the page take the place of.
_CHARTED = (*CURVES, "recall_against_variance", "intervals", "embeddings", "confused_classes")


def write_page(
    comparison: Comparison,
    figures: Sequence[Path],
    path: Path,
    *,
    trusted: bool = False,
    style: Style | None = None,
    method: str = "pca",
) -> Path:
    """Write the page, and return its path.

    Args:
        figures: files of figures; of those that no chart shows, the PNG files are in the page.
        trusted: whether test images are read from wherever the runs' configs say, and not from ``data`` alone.
        style: of the tables.
        method: of the projections of saved embeddings.

    Raises:
        InputError: the style names a column that the comparison does not have.
        OSError: the folder cannot be written.
    """
    style = style or Style()
    written = Written(comparison, style)
    losses = series(written)
    code = guarded("charts of the page", library) if has_library() else None
    charts = (guarded("charts of the page", lambda: sections(written, losses)) or {}) if code else {}
    seen = guarded("pictures of the page", lambda: pictured(written, losses, trusted, method))
    if code and seen and seen.projections:
        charts[_PROJECTED[method]] = [chart for chart, _ in seen.projections]
    drawn = [chart for group in charts.values() for chart in group]
    # A library without a chart would only make the page large.
    scripts = [*([code] if code and drawn else []), file("page.js")]
    body = [*_head(comparison, code is None), _filter(losses), *_tables(comparison, losses, style)]
    body += _chart_parts(charts, seen)
    body += [] if seen is None else _picture_parts(seen)
    body += _static(figures, charted=bool(drawn))
    data = as_script(cleaned(_content(written, losses, drawn, seen)))
    title = for_html(comparison.study.name)
    page = [
        f"<!doctype html><html lang='en'><meta charset='utf-8'>{policy(scripts)}<title>{title}</title>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<style>{STYLE}{file('page.css')}</style><body>",
        *body,
        f"<script type='application/json' id='content'>{data}</script>",
        *(f"<script>{script}</script>" for script in scripts),
        "</body></html>\n",
    ]
    with replacing(path) as draft:
        draft.write_text("\n".join(page), encoding="utf-8")
    return path


def html_table(table: Table, sortable: bool = False, losses: Sequence[int | None] = ()) -> str:
    """A table with its caption.

    Args:
        sortable: whether a heading is a button, by which the script of a page sorts the rows.
        losses: position of the loss of each row, by which the page filters; empty for no filter.
    """
    names = [" class='name'" if place < table.names else "" for place in range(len(table.columns))]
    titles = [_breakable(title) for title in table.columns]
    heads = [f"<button>{title}</button>" if sortable else title for title in titles]
    head = "".join(f"<th{kind}>{title}</th>" for kind, title in zip(names, heads, strict=True))
    marks = [f" data-loss='{loss}'" if loss is not None else "" for loss in losses] or [""] * len(table.rows)
    cells = ["".join(_cell(cell, kind) for kind, cell in zip(names, row, strict=True)) for row in table.rows]
    body = "\n".join(f"<tr{mark}>{row}</tr>" for mark, row in zip(marks, cells, strict=True))
    box = "wide tall" if sortable and len(cells) > _TALL else "wide"
    kind = " class='sortable'" if sortable else ""
    # Beside the box, not within: it would scroll away with a wide table.
    caption = f"<p class='caption'>{for_html(table.caption)}</p>" if table.caption else ""
    return (
        f"<div class='{box}'><table{kind}><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>{caption}"
    )


def _breakable(title: str) -> str:
    """A heading that may go on in the next line after a slash or an underscore between words."""
    return re.sub(r"(?<=\w\w)[/_](?=\w\w)", r"\g<0><wbr>", for_html(title))


def _cell(cell: Shown, kind: str) -> str:
    text = "<br>".join(map(for_html, cell.lines))
    text = f"<b>{text}</b>" if cell.bold else f"<u>{text}</u>" if cell.underlined else text
    return f"<td{kind}>{f'<span>{text}</span>' if kind else text}</td>"


def _head(comparison: Comparison, without_library: bool) -> list[str]:
    study = comparison.study
    parts = [f"<h1>{for_html(study.name)}</h1>", f"<p class='state'>{for_html(state(study))}</p>"]
    notes = list(comparison.notes)
    if without_library:
        notes.append(f"The figures of this page are pictures; {EXTRA} gives charts that answer to the pointer.")
    return parts + [f"<p class='note'>{for_html(note)}</p>" for note in notes]


def _filter(losses: Series) -> str:
    """A box for each loss; it is the legend of all charts as well."""
    boxes = [
        f"<label title='{for_html(name)}'><input type='checkbox' value='{place}' checked>"
        f"<i style='border-top: 3px {'solid' if dash[1] == 0 else 'dashed'} {color}'></i>{for_html(name)}</label>"
        for place, (name, color, dash) in enumerate(zip(losses.names, losses.colors, losses.dashes, strict=True))
    ]
    return f"<div id='filter' role='group' aria-label='{losses.what}'><button>all</button>{''.join(boxes)}</div>"


def _tables(comparison: Comparison, losses: Series, style: Style) -> list[str]:
    groups, *differences = tables(comparison, style)
    places = {id(group): at for group, at in zip(comparison.grouping.groups, losses.of_group, strict=True)}
    metrics = Written(comparison, style).metrics
    of_line = [places.get(id(line.group)) for line in comparison.contrasts if line.metric in metrics]
    parts = ["<h2>Results</h2>", html_table(groups, True, losses.of_group)]
    parts += [html_table(table, True, of_line) for table in differences]
    parts += ["<h2>What was run</h2>", html_table(facts_table(comparison.study), True)]
    of_run = [losses.of_run.get(run.name) for run in comparison.study.runs]
    commands = html_table(commands_table(comparison.study), True, of_run)
    parts.append(f"<details><summary>The commands</summary>{commands}</details>")
    return [*parts, "<h2>Runs</h2>", html_table(runs_table(comparison, style), True, of_run)]


def _chart_parts(charts: dict[str, list[Chart]], seen: Pictured | None) -> list[str]:
    of_chart = {id(chart): loss for chart, loss in seen.projections} if seen else {}
    parts, number = [], 0
    for title, group in charts.items():
        parts.append(f"<h2>{for_html(title)}</h2>")
        parts += [f"<p class='caption'>{_SAID[title]}</p>"] if title in _SAID else []
        parts.append("<div class='charts'>")
        for chart in group:
            whole = " class='whole'" if chart.wide else ""
            loss = f" data-loss='{of_chart[id(chart)]}'" if id(chart) in of_chart else ""
            place = f"<div data-chart='{number}'></div>"
            parts.append(f"<figure{whole}{loss}><h3>{for_html(chart.title)}</h3>{place}</figure>")
            number += 1
        parts.append("</div>")
    return parts


def _picture_parts(seen: Pictured) -> list[str]:
    parts = [*(["<h2>Nearest neighbours</h2>"] if seen.galleries else []), *seen.galleries]
    if seen.confused is not None:
        parts += ["<h2>Confused classes</h2>", html_table(seen.confused[0], True, seen.confused[1])]
    return parts


def _static(figures: Sequence[Path], charted: bool) -> list[str]:
    parts = []
    for figure in figures:
        if figure.suffix == ".png" and not (charted and figure.stem in _CHARTED):
            name, data = for_html(figure.stem.replace("_", " ")), b64encode(figure.read_bytes()).decode()
            parts.append(f"<h2>{name}</h2><img alt='{name}' src='data:image/png;base64,{data}'>")
    return parts


def _content(written: Written, losses: Series, drawn: Sequence[Chart], seen: Pictured | None) -> dict[str, Any]:
    """What the script of the page reads; positions in its lists stand for names and pictures."""
    comparison = written.comparison
    return {
        "groups": [written.group(group) for group in comparison.grouping.groups],
        "of_group": losses.of_group,
        "runs": [run.name for run in comparison.study.runs],
        "classes": seen.classes if seen else [],
        "images": seen.urls if seen else [],
        "charts": [{name: getattr(one, name) for name in _READ} for one in drawn],
    }
