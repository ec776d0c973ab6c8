"""What all charts of a comparison have in common, in Vega-Lite.

Rows name groups, runs and classes by their position in a list of the page, so that no long name is repeated.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from metriscope.reports.html.series import Series

Spec = dict[str, Any]


class Chart(NamedTuple):
    """A chart with its heading.

    Attributes:
        title: the heading, plain text.
        spec: Vega-Lite, without data.
        rows: the data; ``curves`` are expanded to rows by the page.
        curves: positions of a group, with lists of x and y; those of a mean have the ends of its interval, where there
            is one, and whether these are drawn as a band, those of a single run its position in the group.
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


def colored(losses: Series) -> Spec:
    """The colour of a loss; the filter of the page takes the place of a legend."""
    return {"field": "loss", "type": "nominal", "legend": None, "scale": scale_of(losses, losses.colors)}


def hidden_losses() -> Spec:
    """The parameter that the filter of the page sets."""
    return {"name": "hidden", "value": []}


SHOWN: Spec = {"filter": "indexof(hidden, datum.loss) < 0"}
"""The transform that leaves out rows of hidden losses."""

TOLD: Spec = {"value": "-"}
"""The channel of marks for which the page shows the tip of their chart."""

CURVE_TIP = (("group", "group"), ("x", "epoch"), ("y", "mean"), ("low", "from"), ("high", "to"))


def quantity(field: str, title: str | None = None, **more: Any) -> Spec:
    """A number as a channel; the axis need not start at zero."""
    return {"field": field, "type": "quantitative", "title": title, "scale": {"zero": False, "padding": 8}, **more}


def rounded(value: float) -> float:
    """Four digits, which is more than a chart shows."""
    return float(f"{value:.4g}")


def scale_of(losses: Series, values: Sequence[Any]) -> Spec:
    """The scale that gives each loss one of the values."""
    return {"domain": list(range(len(losses.names))), "range": list(values)}


def titled(title: str, data: str) -> str:
    """A heading with the label of the data, where there is one."""
    return f"{title}, {data}" if data else title
