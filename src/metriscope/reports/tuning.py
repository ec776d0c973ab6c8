"""What tuning a method costs and gives: the expected best after k trials, and the price of tuning."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NEARLY = 0.9
"""Share of the gain of a whole search from which a shorter one has nearly all of it."""


def expected_best(values: Sequence[float], sign: int = 1) -> NDArray[np.float64]:
    """Expected best of k of the n trials, drawn without replacement, for k = 1, ..., n: (n,); O(n^2).

    With the values sorted from the best, v_1 to v_n, the best of k is v_i with probability C(n - i, k - 1) / C(n, k):
    the exact form of the expectation that Dodge et al. (arXiv:1909.03004) estimate with replacement. It takes trials
    as exchangeable; those of a model-based sampler get better in the course of a search.

    Args:
        values: one for each trial.
        sign: 1 if higher is better, -1 if lower is better.

    Raises:
        ValueError: no values, or values that are not finite.
    """
    ordered = -sign * np.sort(-sign * np.asarray(values, dtype=np.float64))
    n = len(ordered)
    if not n or not np.isfinite(ordered).all():
        raise ValueError("at least one value is needed, and finite ones only")
    found = np.empty(n)
    for k in range(1, n + 1):
        places = n - k + 1  # beyond these there are fewer than k values left
        chances = np.empty(places)
        chances[0] = k / n
        # C(n - i - 1, k - 1) / C(n - i, k - 1): the binomials themselves overflow.
        rest = np.arange(n - 1, n - places, -1)
        chances[1:] = chances[0] * np.cumprod((rest - k + 1) / rest)
        found[k - 1] = float(chances @ ordered[:places])
    return found


@dataclass(frozen=True)
class Price:
    """What a search over one method gave, and after how many trials.

    Attributes:
        trials: trials that count.
        default: value of the default setting, the first trial; None where it has none.
        best: the best value.
        gain: how much better the best is than the default; None without a default.
        trials_needed: the fewest trials of which the expected best has :data:`NEARLY` of the gain; 0 where the
            default is the best, None without a default.
        seconds: of all trials.
    """

    trials: int
    default: float | None
    best: float
    gain: float | None
    trials_needed: int | None
    seconds: float


def price(values: Sequence[float], default: float | None, seconds: float, sign: int = 1) -> Price:
    """The price of tuning.

    Args:
        values: one for each trial, as for :func:`expected_best`.
        default: value of the default setting; None where it has none.
        seconds: that the search took.
        sign: 1 if higher is better, -1 if lower is better.
    """
    curve = sign * expected_best(values, sign)
    best = float(curve[-1])
    if default is None:
        return Price(len(values), None, sign * best, None, None, seconds)
    gain = best - sign * default
    enough = sign * default + NEARLY * gain
    needed = 0 if gain <= 0 else 1 + int(np.argmax(curve >= min(enough, best)))
    return Price(len(values), default, sign * best, max(gain, 0.0), needed, seconds)
