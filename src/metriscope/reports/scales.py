"""Scales of the axes of figures: whole epochs, plain numbers on logarithms, limits that data and not bands set."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from metriscope.evaluation.metrics import bounds_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Below this ratio a logarithmic axis has too few round numbers to label.
_LOG_FROM = 2.5
_MARGIN = 0.04


def epochs_axis(axis: "Axes", last: float, ticks: int = 6) -> None:
    """Whole epochs, from the first one to the last."""
    from matplotlib.ticker import FixedLocator

    last = max(last, 1.0)
    margin = 0.03 * (last - 1) or 0.5
    axis.set_xlim(1 - margin, last + margin)
    size = 10.0 ** max(math.floor(math.log10(last / ticks)), 0)
    step = next(int(size * one) for one in (1, 2, 5, 10) if last / (size * one) <= ticks)
    axis.xaxis.set_major_locator(FixedLocator(range(step, int(last) + 1, step)))


def value_axis(
    axis: "Axes", key: str, values: Iterable[ArrayLike], bands: Sequence[ArrayLike] = (), *, log: bool = False
) -> None:
    """Limits and ticks of the axis of a metric.

    Args:
        key: its logged key; limits stay within what values it can have.
        values: of the drawn lines, which are seen as a whole.
        bands: edges of bands around them, which widen the axis by half of the range of the lines at each end.
        log: logarithmic, if all values are positive and not nearly the same.
    """
    from matplotlib.ticker import FixedLocator, MaxNLocator

    found = _range(values)
    if found is None or not math.isfinite(found[1] - found[0]):
        return
    low, high = found
    if log and low > 0 and high / low >= _LOG_FROM:
        log_axis(axis, low, high)
        return
    room = (high - low) / 2
    around = _range(bands) or found
    low, high = max(min(low, around[0]), low - room), min(max(high, around[1]), high + room)
    low, high = _with_margin(low, high, *bounds_of(key))
    axis.set_ylim(low, high)
    ticks = within(key, MaxNLocator(5).tick_values(low, high))
    axis.yaxis.set_major_locator(FixedLocator([tick for tick in sorted({*ticks.tolist()}) if low <= tick <= high]))


def _range(values: Iterable[ArrayLike]) -> tuple[float, float] | None:
    """The least and the largest finite number; None where there is none."""
    finite = [array[np.isfinite(array)] for array in (np.asarray(one, dtype=np.float64).ravel() for one in values)]
    finite = [array for array in finite if array.size]
    return (min(float(a.min()) for a in finite), max(float(a.max()) for a in finite)) if finite else None


def _with_margin(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    if low == high:
        apart = abs(high) * 0.05 or 0.05
        low, high = max(low - apart, least), min(high + apart, most)
    # A line along a bound is seen as a whole.
    margin = _MARGIN * (high - low)
    return max(low - margin, least - margin / 2), min(high + margin, most + margin / 2)


def within(key: str, values: ArrayLike) -> np.ndarray:
    """Values of a metric, those beyond what it can have moved to its bounds."""
    return np.clip(np.asarray(values, dtype=np.float64), *bounds_of(key))


def log_axis(axis: "Axes", low: float, high: float) -> None:
    """A logarithmic axis with numbers as they are written, without powers of ten."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis.set_yscale("log")
    room = (high / low) ** _MARGIN
    low, high = low / room, high * room
    decades = math.log10(high / low)
    steps = (1, 2, 3, 5, 7) if decades < 1 else (1, 2, 5) if decades < 2 else (1, 3) if decades < 3 else (1,)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = max(1, round(decades / 6))
    ticks = [step * 10.0**power for power in range(first, last + 1, every) for step in steps]
    axis.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
    axis.set_ylim(low, high)
