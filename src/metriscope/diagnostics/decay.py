"""Loss-decay rate of GREEDINESS ([CT], arXiv:2510.02161): how fast a loss falls."""

import math
from collections.abc import Sequence
from typing import NamedTuple


def decay_rate(previous: float, current: float) -> float:
    """Relative drop over an epoch, (L_{t-1} - L_t) / L_{t-1}; 0 where the loss was already 0."""
    return (previous - current) / previous if previous != 0 else 0.0


class ExponentialFit(NamedTuple):
    """L_t ~ exp(-rate t): ``rate`` per epoch, ``half_life`` in epochs (infinite where the loss does not fall)."""

    rate: float
    half_life: float


def exponential_fit(losses: Sequence[float]) -> ExponentialFit | None:
    """Least squares through the logarithm of the losses of successive epochs.

    Losses of zero have no logarithm and are left out; None with fewer than two epochs to fit.
    """
    points = [(t, math.log(loss)) for t, loss in enumerate(losses) if loss > 0 and math.isfinite(loss)]
    if len(points) < 2:
        return None
    mean_t = sum(t for t, _ in points) / len(points)
    mean_log = sum(y for _, y in points) / len(points)
    slope = sum((t - mean_t) * (y - mean_log) for t, y in points) / sum((t - mean_t) ** 2 for t, _ in points)
    return ExponentialFit(rate=-slope, half_life=math.log(2) / -slope if slope < 0 else math.inf)
