"""Charts of a comparison in Vega-Lite: curves over epochs, Recall@1 against variance, final values.

Rows name groups, runs and classes by their position in a list of the page, so that no long name is repeated.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from metriscope.evaluation.metrics import logged, title_of
from metriscope.reports.comparison import Comparison
from metriscope.reports.html.series import Series
from metriscope.reports.study_figures import CURVES
from metriscope.reports.table_style import Written
from metriscope.reports.trajectories import Trajectory, trajectories

_POINTS = 30_000  # of all curves
_FEWEST, _MOST = 12, 120  # points of a curve
_DATA_SETS = 6
_KEYS = tuple(dict.fromkeys(key for keys in CURVES.values() for key in keys))

Spec = dict[str, Any]


class Chart(NamedTuple):
    """A chart with its heading.

    Attributes:
        title: the heading, plain text.
        spec: Vega-Lite, without data.
        rows: the data; ``curves`` are expanded to rows by the page.
        curves: positions of a group, with lists of x, y and, where there is a band, its ends.
        limits: where bands of the curves end at the latest.
        tip: what the tip beside the pointer tells: fields of a row with their names.
        wide: whether it takes the whole width.
    """

    title: str
    spec: Spec
    rows: Sequence[dict[str, Any]] = ()
    curves: Sequence[dict[str, Any]] = ()
    tip: Sequence[tuple[str, str]] = ()
    limits: tuple[float, float] | None = None
    wide: bool = False


def sections(written: Written, losses: Series) -> dict[str, list[Chart]]:
    """Charts by the heading of their section; sections without a chart are left out."""
    blocks = _blocks(written)
    made = {
        "Curves": _curves(written, losses, blocks),
        "Recall@1 against variance": _scatters(written.comparison, losses, blocks),
        "Final values": _intervals(written, losses, blocks),
    }
    return {title: charts for title, charts in made.items() if charts}


def colored(losses: Series) -> Spec:
    """The colour of a loss; the filter of the page takes the place of a legend."""
    return {"field": "loss", "type": "nominal", "legend": None, "scale": _scale(losses, losses.colors)}


def hidden_losses() -> Spec:
    """The parameter that the filter of the page sets."""
    return {"name": "hidden", "value": []}


SHOWN: Spec = {"filter": "indexof(hidden, datum.loss) < 0"}
"""The transform that leaves out rows of hidden losses."""

TOLD: Spec = {"value": "-"}
"""The channel of marks for which the page shows the tip of their chart."""

_CURVE_TIP = (("group", "group"), ("x", "epoch"), ("y", "mean"), ("low", "from"), ("high", "to"))
_INTERVAL_TIP = (("group", "group"), ("run", "run"), ("v", "value"), ("mean", "mean"), *_CURVE_TIP[3:])


def quantity(field: str, title: str | None = None, **more: Any) -> Spec:
    """A number as a channel; the axis need not start at zero."""
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False, "padding": 8}, **more}


def rounded(value: float) -> float:
    """Four digits, which is more than a chart shows."""
    return float(f"{value:.4g}")


def _scale(losses: Series, values: Sequence[Any]) -> Spec:
    return {"domain": list(range(len(losses.names))), "range": list(values)}


def _blocks(written: Written) -> list[tuple[str, list[int]]]:
    """Title of the data and positions of the groups; without a title where all runs have the same data."""
    blocks: dict[tuple[str, ...], list[int]] = {}
    groups = written.comparison.grouping.groups
    for place, group in enumerate(groups):
        blocks.setdefault(group.block, []).append(place)
    return [(written.data(groups[places[0]]), places) for places in list(blocks.values())[:_DATA_SETS]]


def _titled(title: str, data: str) -> str:
    return f"{title}, {data}" if data else title


def _curves(written: Written, losses: Series, blocks: Sequence[tuple[str, list[int]]]) -> list[Chart]:
    found = trajectories(written.comparison.grouping.groups, _KEYS)
    most = int(np.clip(_POINTS / max(sum(map(len, found)), 1), _FEWEST, _MOST))
    charts = []
    for data, places in blocks:
        for key in _KEYS:
            curves = [_curve(place, found[place][key], most) for place in places if key in found[place]]
            if curves:
                log = "grad_norm" in key and all(min(c["y"], default=0) > 0 for c in curves)
                spec, limits = _curve_spec(losses, log, _ticks(curves)), _limits(curves, log)
                charts.append(
                    Chart(_titled(written.heading(key), data), spec, curves=curves, tip=_CURVE_TIP, limits=limits)
                )
    return charts


def _limits(curves: Sequence[dict[str, Any]], log: bool) -> tuple[float, float]:
    """As far from the means as these are from each other, on either side; on a logarithmic axis four times."""
    means = [value for curve in curves for value in curve["y"]]
    low, high = min(means, default=0.0), max(means, default=0.0)
    if log:
        return low / 4, high * 4
    margin = high - low or abs(high) or 1.0
    return low - margin, high + margin


def _ticks(curves: Sequence[dict[str, Any]]) -> list[int]:
    """Whole epochs, some six of them."""
    epochs = [x for curve in curves for x in curve["x"]]
    first, last = int(min(epochs, default=1)), int(max(epochs, default=1))
    return list(range(first, last + 1, max(1, -(-(last - first) // 6))))


def _curve(place: int, curve: Trajectory, most: int) -> dict[str, Any]:
    """At most so many points, in even steps; epochs without a value are left out."""
    there = np.flatnonzero(np.isfinite(curve.mean))
    chosen = there[np.unique(np.linspace(0, len(there) - 1, min(len(there), most)).round().astype(int))]
    lines = {"x": curve.epochs, "y": curve.mean}
    if np.isfinite(curve.half[chosen]).all() and len(chosen):
        lines |= {"low": curve.mean - curve.half, "high": curve.mean + curve.half}
    return {"g": place, **{name: [rounded(v) for v in line[chosen]] for name, line in lines.items()}}


def _curve_spec(losses: Series, log: bool, ticks: list[int]) -> Spec:
    scale: Spec = {"type": "log"} if log else {"zero": False, "nice": True}
    y = {**quantity("y"), "scale": scale}
    select = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True, "fields": ["g"]}
    near = {"name": "near", "select": select}
    lit = {"condition": {"param": "near", "value": 1}, "value": 0.25}
    dot = {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}
    dash = {"field": "loss", "type": "nominal", "legend": None, "scale": _scale(losses, losses.dashes)}
    area = {"y": {**quantity("bottom"), "scale": scale}, "y2": {"field": "top"}, "detail": {"field": "g"}}
    return {
        "height": 230,
        "params": [hidden_losses()],
        "transform": [SHOWN],
        "encoding": {
            "x": quantity(
                "x",
                "epoch (band: 95 % interval)",
                scale={"zero": False},
                axis={"values": ticks, "grid": False, "format": "d"},
            ),
            "color": colored(losses),
        },
        "layer": [
            {
                "transform": [{"filter": "isValid(datum.low)"}],
                "mark": {"type": "area", "opacity": 0.15},
                "encoding": area,
            },
            {
                "mark": {"type": "line", "strokeWidth": 1.8},
                "encoding": {"y": y, "detail": {"field": "g"}, "strokeDash": dash, "opacity": lit},
            },
            {
                "params": [near],
                "mark": {"type": "point", "filled": True, "size": 45},
                "encoding": {"y": y, "opacity": dot, "tooltip": TOLD},
            },
        ],
    }


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
                charts.append(Chart(_titled(f"{y} against {x}", data), spec, rows, tip=tip))
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
                low, high = cell.summary.interval or (cell.summary.mean, cell.summary.mean)
                ends = {"mean": rounded(cell.summary.mean), "low": rounded(low), "high": rounded(high)}
                rows.append({"m": m, "g": place, **ends})
                rows += [
                    {"m": m, "g": place, "r": order[run.name], "v": rounded(run.metrics[metric])}
                    for run in comparison.grouping.groups[place].runs
                    if metric in run.metrics
                ]
        if rows:
            charts.append(
                Chart(_titled("Mean and 95 % interval", data), _interval_spec(written, losses), rows, wide=True)
            )
    return charts


def _interval_spec(written: Written, losses: Series) -> Spec:
    titles = [_better(written, metric) for metric in written.comparison.metrics]
    choice = {"input": "select", "options": list(range(len(titles))), "labels": titles, "name": "metric "}
    # The axis has the groups' positions: two groups may have the same label once it is cut.
    y = {"field": "g", "type": "ordinal", "title": None, "axis": {"labelExpr": "groups[datum.value]", "ticks": False}}
    line = {"x": quantity("low", None), "x2": {"field": "high"}, "tooltip": TOLD}
    return {
        "height": {"step": 24},
        "params": [hidden_losses(), {"name": "metric", "value": 0, "bind": choice}, {"name": "groups", "value": []}],
        "transform": [SHOWN, {"filter": "datum.m == metric"}],
        "encoding": {"y": y, "color": colored(losses)},
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 2.5}, "encoding": line},
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
