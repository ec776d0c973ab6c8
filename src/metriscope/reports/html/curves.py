"""Charts of curves over epochs: means with their bands, or with single runs where these are few."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metriscope.evaluation.metrics import title_of
from metriscope.reports.embedded import evenly
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
    scale_of,
    titled,
)
from metriscope.reports.html.series import Series
from metriscope.reports.study_figures import BAND_FROM, CURVES
from metriscope.reports.table_style import Written
from metriscope.reports.trajectories import Trajectory, on_one_scale, trajectories

_POINTS = 30_000  # of all curves
_FEWEST, _MOST = 12, 120  # points of a curve
_KEYS = tuple(dict.fromkeys(key for keys in CURVES.values() for key in keys))


def curves(written: Written, losses: Series, blocks: Sequence[tuple[str, list[int]]]) -> list[Chart]:
    """A chart for each data set and logged key."""
    found = trajectories(written.comparison.grouping.groups, _KEYS)
    # Losses have no common unit.
    scaled = {key: one for key in _KEYS if title_of(key) == "loss" and (one := on_one_scale(found, key))}
    for key, relative in scaled.items():
        found = [{**group, **({key: line} if line else {})} for group, line in zip(found, relative, strict=True)]
    lines = sum(1 + _few(line) * len(line.values) for group in found for line in group.values())
    most = int(np.clip(_POINTS / max(lines, 1), _FEWEST, _MOST))
    charts = []
    for data, places in blocks:
        for key in _KEYS:
            drawn = [one for place in places if key in found[place] for one in _lines(place, found[place][key], most)]
            if drawn:
                log = "grad_norm" in key and all(min(c["y"], default=0) > 0 for c in drawn)
                spec, limits = _curve_spec(losses, log, _ticks(drawn)), _limits(drawn, log)
                title = titled(written.heading(key) + ", share of largest" * (key in scaled), data)
                charts.append(Chart(title, spec, curves=drawn, tip=CURVE_TIP, limits=limits))
    return charts


def _limits(curves: Sequence[dict[str, Any]], log: bool) -> tuple[float, float]:
    """As far from the means as these are from each other, on either side; on a logarithmic axis four times."""
    means = [value for curve in curves if "s" not in curve for value in curve["y"]]
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


def _few(curve: Trajectory) -> bool:
    """Whether the runs themselves are drawn, as in the figures: of several that are too few for a band."""
    return 1 < int(curve.n.max(initial=0)) < BAND_FROM


def _lines(place: int, curve: Trajectory, most: int) -> list[dict[str, Any]]:
    """The mean of a group with its interval, and its runs where they are few."""
    lines = {"x": curve.epochs, "y": curve.mean}
    chosen = _chosen(curve.mean, most)
    if np.isfinite(curve.half[chosen]).all() and len(chosen):
        lines |= {"low": curve.mean - curve.half, "high": curve.mean + curve.half}
    band = {"band": True} if "low" in lines and (curve.n[chosen] >= BAND_FROM).all() else {}
    found = [{"g": place, **_points(lines, chosen), **band}]
    for single, values in enumerate(curve.values if _few(curve) else ()):
        found.append({"g": place, "s": single, **_points({"x": curve.epochs, "y": values}, _chosen(values, most))})
    return found


def _chosen(values: NDArray[np.float64], most: int) -> NDArray[np.intp]:
    """At most so many positions, in even steps, of those that have a value."""
    there = np.flatnonzero(np.isfinite(values))
    return there[evenly(len(there), most)]


def _points(lines: Mapping[str, NDArray[np.float64]], chosen: NDArray[np.intp]) -> dict[str, list[float]]:
    return {name: [rounded(value) for value in line[chosen]] for name, line in lines.items()}


def _curve_spec(losses: Series, log: bool, ticks: list[int]) -> Spec:
    scale: Spec = {"type": "log"} if log else {"zero": False, "nice": True}
    y = {**quantity("y"), "scale": scale}
    select = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True, "fields": ["g"]}
    near = {"name": "near", "select": select}
    lit = {"condition": {"param": "near", "value": 1}, "value": 0.25}
    dot = {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}
    dash = {"field": "loss", "type": "nominal", "legend": None, "scale": scale_of(losses, losses.dashes)}
    mean = [{"filter": "!isValid(datum.s)"}]
    area = {"y": {**quantity("bottom"), "scale": scale}, "y2": {"field": "top"}, "detail": {"field": "g"}}
    return {
        "height": 230,
        "params": [hidden_losses()],
        "transform": [SHOWN],
        "encoding": {
            "x": quantity(
                "x",
                "epoch",
                scale={"zero": False},
                axis={"values": ticks, "grid": False, "format": "d"},
            ),
            "color": colored(losses),
        },
        "layer": [
            {
                "transform": [{"filter": "isValid(datum.bottom)"}],
                "mark": {"type": "area", "opacity": 0.15},
                "encoding": area,
            },
            {
                "transform": [{"filter": "isValid(datum.s)"}],
                "mark": {"type": "line", "strokeWidth": 0.7, "opacity": 0.5},
                "encoding": {"y": y, "detail": [{"field": "g"}, {"field": "s"}]},
            },
            {
                "transform": mean,
                "mark": {"type": "line", "strokeWidth": 1.8},
                "encoding": {"y": y, "detail": {"field": "g"}, "strokeDash": dash, "opacity": lit},
            },
            {
                "params": [near],
                "transform": mean,
                "mark": {"type": "point", "filled": True, "size": 45},
                "encoding": {"y": y, "opacity": dot, "tooltip": TOLD},
            },
        ],
    }
