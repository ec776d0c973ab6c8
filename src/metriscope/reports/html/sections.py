"""The charts of a comparison by their sections: curves over epochs, Recall@1 against variance, final values."""

from collections.abc import Sequence
from typing import Any

from metriscope.evaluation.metrics import logged, title_of
from metriscope.reports.comparison import Comparison
from metriscope.reports.html.charts import (
    CURVE_TIP,
    SHOWN,
    TOLD,
    Chart,
    Spec,
    colored,
    hidden_losses,
    quantity,
    rounded,
    titled,
)
from metriscope.reports.html.curves import curves
from metriscope.reports.html.series import Series
from metriscope.reports.scales import within
from metriscope.reports.study_figures import BAND_FROM
from metriscope.reports.table_style import Written

_DATA_SETS = 6
_INTERVAL_TIP = (("group", "group"), ("run", "run"), ("v", "value"), ("mean", "mean"), *CURVE_TIP[3:])


def sections(written: Written, losses: Series) -> dict[str, list[Chart]]:
    """Charts by the heading of their section; sections without a chart are left out."""
    blocks = _blocks(written)
    made = {
        "Curves": curves(written, losses, blocks),
        "Recall@1 against variance": _scatters(written.comparison, losses, blocks),
        "Final values": _intervals(written, losses, blocks),
    }
    return {title: charts for title, charts in made.items() if charts}


def _blocks(written: Written) -> list[tuple[str, list[int]]]:
    """Title of the data and positions of the groups; without a title where all runs have the same data."""
    blocks: dict[tuple[str, ...], list[int]] = {}
    groups = written.comparison.grouping.groups
    for place, group in enumerate(groups):
        blocks.setdefault(group.block, []).append(place)
    return [(written.data(groups[places[0]]), places) for places in list(blocks.values())[:_DATA_SETS]]


def _scatters(comparison: Comparison, losses: Series, blocks: Sequence[tuple[str, list[int]]]) -> list[Chart]:
    """Every run's Recall@1 on the test set against its variances."""
    (recall,) = logged("test", "recall_at_1")
    order = {run.name: place for place, run in enumerate(comparison.study.runs)}
    charts = []
    for data, places in blocks:
        for key in logged("test", "variance_intra", "variance_inter"):
            rows = [
                {"g": place, "r": order[run.name], "x": rounded(run.metrics[key]), "y": rounded(run.metrics[recall])}
                for place in places
                for run in comparison.grouping.groups[place].runs
                if {key, recall} <= run.metrics.keys()
            ]
            x, y = title_of(key), title_of("recall_at_1")
            tip = [("group", "group"), ("run", "run"), ("x", x), ("y", y)]
            spec = {
                "height": 260,
                "params": [hidden_losses()],
                "transform": [SHOWN],
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0.75},
                "encoding": {
                    "x": quantity("x", f"{x} (test)"),
                    "y": quantity("y", f"{y} (test)"),
                    "color": colored(losses),
                    "tooltip": TOLD,
                },
            }
            if rows:
                charts.append(Chart(titled(f"{y} against {x}", data), spec, rows, tip=tip))
    return charts


def _intervals(written: Written, losses: Series, blocks: Sequence[tuple[str, list[int]]]) -> list[Chart]:
    """Mean and 95 % interval of every group, with the runs as faint points; the metric is chosen in the page."""
    comparison = written.comparison
    order = {run.name: place for place, run in enumerate(comparison.study.runs)}
    charts = []
    for data, places in blocks:
        rows: list[dict[str, Any]] = []
        for m, metric in enumerate(comparison.metrics):
            for place in places:
                cell = comparison.cells.get((place, metric))
                if cell is None:
                    continue
                row = {"m": m, "g": place, "mean": rounded(cell.summary.mean)}
                if cell.summary.interval is not None:
                    row |= dict(zip(("low", "high"), map(rounded, cell.summary.interval), strict=True))
                    if cell.summary.n >= BAND_FROM:
                        ends = within(metric, cell.summary.interval).tolist()
                        row |= dict(zip(("bottom", "top"), map(rounded, ends), strict=True))
                rows.append(row)
                rows += [
                    {"m": m, "g": place, "r": order[run.name], "v": rounded(run.metrics[metric])}
                    for run in comparison.grouping.groups[place].runs
                    if metric in run.metrics
                ]
        if rows:
            charts.append(
                Chart(titled("Mean and 95 % interval", data), _interval_spec(written, losses), rows, wide=True)
            )
    return charts


def _interval_spec(written: Written, losses: Series) -> Spec:
    titles = [_better(written, metric) for metric in written.comparison.metrics]
    choice = {"input": "select", "options": list(range(len(titles))), "labels": titles, "name": "metric "}
    # The axis has the groups' positions: two groups may have the same label once it is cut.
    y = {"field": "g", "type": "ordinal", "title": None, "axis": {"labelExpr": "groups[datum.value]", "ticks": False}}
    line = {"x": quantity("bottom", None), "x2": {"field": "top"}, "tooltip": TOLD}
    return {
        "height": {"step": 24},
        "params": [hidden_losses(), {"name": "metric", "value": 0, "bind": choice}, {"name": "groups", "value": []}],
        "transform": [SHOWN, {"filter": "datum.m == metric"}],
        "encoding": {"y": y, "color": colored(losses)},
        "layer": [
            {
                "transform": [{"filter": "isValid(datum.bottom)"}],
                "mark": {"type": "rule", "strokeWidth": 2.5},
                "encoding": line,
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90},
                "encoding": {"x": quantity("mean"), "tooltip": TOLD},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 45, "opacity": 0.35},
                "encoding": {"x": quantity("v"), "tooltip": TOLD},
            },
        ],
    }


def _better(written: Written, metric: str) -> str:
    said = written.heading(metric)
    return {1: f"{said}, more is better", -1: f"{said}, less is better", 0: said}[written.comparison.direction(metric)]
