"""Statistics of a few seeds: means with intervals, and paired differences with their tests.

Undefined figures are None, never NaN: a single run has no spread, equal differences have no t statistic.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Interval = tuple[float, float]
CONFIDENCE = 0.95
RESAMPLES = 10_000


@dataclass(frozen=True)
class Summary:
    """Mean of ``n`` values, their standard deviation (n - 1), and the t interval of the mean; None for n = 1."""

    n: int
    mean: float
    std: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Difference:
    """Paired differences of ``n`` pairs, first minus second.

    Attributes:
        mean: mean of the differences.
        interval: t interval of the mean.
        bootstrap: percentile interval of the mean over resampled pairs.
        effect: Hedges' g_z: the mean in standard deviations of the differences (Cohen's d_z), corrected for the bias
            of small samples (Hedges, 1981). None below three pairs, or if all differences are equal.
        p_t: p of the paired t test. None if all differences are equal.
        p_wilcoxon: p of the exact signed-rank test. With n pairs it is at least 2 / 2^n: five seeds never reach 0.05.
    """

    n: int
    mean: float
    interval: Interval | None
    bootstrap: Interval | None
    effect: float | None
    p_t: float | None
    p_wilcoxon: float | None


def summarize(values: Sequence[float], confidence: float = CONFIDENCE) -> Summary:
    """Mean, standard deviation and t interval of at least one finite value.

    Raises:
        ValueError: no values, or values that are not finite.
    """
    x = _finite(values)
    spread = float(x.std(ddof=1)) if len(x) > 1 else None
    return Summary(len(x), float(x.mean()), spread, _t_interval(x, confidence))


def paired_difference(
    values: Sequence[float], baseline: Sequence[float], confidence: float = CONFIDENCE, seed: int = 0
) -> Difference:
    """How ``values`` differ from ``baseline``, pair by pair (same seed, same data); at least one pair.

    Args:
        seed: seed of the bootstrap; its interval depends on the seed and the differences alone.

    Raises:
        ValueError: no pairs, unequal lengths, or values that are not finite.
    """
    x, spread = _differences(values, baseline)
    return Difference(
        n=len(x),
        mean=float(x.mean()),
        interval=_t_interval(x, confidence),
        bootstrap=bootstrap_interval(x, confidence, seed) if len(x) > 1 else None,
        effect=_correction(len(x)) * float(x.mean()) / spread if spread and len(x) > 2 else None,
        p_t=paired_t(values, baseline),
        p_wilcoxon=_p_wilcoxon(x) if len(x) > 1 else None,
    )


def paired_t(values: Sequence[float], baseline: Sequence[float]) -> float | None:
    """p of the two-sided paired t test alone; None for one pair, or if all differences are equal."""
    from scipy.special import stdtr

    x, spread = _differences(values, baseline)
    return float(2 * stdtr(len(x) - 1, -abs(x.mean()) * math.sqrt(len(x)) / spread)) if spread else None


def bootstrap_interval(
    values: Sequence[float] | NDArray[np.float64], confidence: float = CONFIDENCE, seed: int = 0
) -> Interval:
    """Percentile interval of the mean over :data:`RESAMPLES` samples drawn with replacement."""
    x = _finite(values)
    low, high = np.quantile(_weights(len(x), seed) @ x, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def t_quantile(freedom: ArrayLike, confidence: float = CONFIDENCE) -> NDArray[np.float64]:
    """Half width, in standard errors, of the two-sided t interval; elementwise over the degrees of freedom."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(freedom, (1 + confidence) / 2), dtype=np.float64)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p values adjusted for multiple comparisons (Holm, 1979); None stays None and does not count."""
    known = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min(1.0, (len(known) - rank) * p))
        adjusted[place] = highest
    return adjusted


def _finite(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError("at least one value is needed, and finite ones only")
    return x


def _differences(values: Sequence[float], baseline: Sequence[float]) -> tuple[NDArray[np.float64], float | None]:
    """The differences, and their standard deviation; None if all differences are equal."""
    if len(values) != len(baseline):
        raise ValueError(f"{len(values)} values against {len(baseline)}: pairs are needed")
    x = _finite(values) - _finite(baseline)
    spread = float(x.std(ddof=1)) if len(x) > 1 else 0.0
    # Differences that are equal up to rounding have no standard deviation to divide by.
    varied = spread > 1e-12 * float(np.abs([values, baseline]).max())
    return x, spread if varied else None


def _t_interval(x: NDArray[np.float64], confidence: float) -> Interval | None:
    if len(x) < 2:
        return None
    mean = float(x.mean())
    half = float(t_quantile(len(x) - 1, confidence) * x.std(ddof=1) / math.sqrt(len(x)))
    return mean - half, mean + half


def _p_wilcoxon(x: NDArray[np.float64]) -> float:
    """Share of sign patterns that are at least as one-sided; zeros are dropped, ties get their mean rank."""
    x = x[x != 0]
    _, place, counts = np.unique(np.abs(x), return_inverse=True, return_counts=True)
    doubled = (2 * counts.cumsum() - counts + 1)[place]
    chances = np.ones(1)  # probability of every sum of positive doubled ranks
    for rank in doubled:
        chances = (np.pad(chances, (0, rank)) + np.pad(chances, (rank, 0))) / 2
    seen = int(doubled[x > 0].sum())
    return float(min(1.0, 2 * min(chances[: seen + 1].sum(), chances[seen:].sum())))


@lru_cache(maxsize=4)
def _weights(n: int, seed: int) -> NDArray[np.float64]:
    """Weight of each of n values in each resample, (RESAMPLES, n); cached for all differences of n pairs."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    return drawn / n


def _correction(n: int) -> float:
    """Hedges' factor, which corrects the bias of d_z for n > 2 pairs."""
    m = n - 1
    return math.exp(math.lgamma(m / 2) - math.lgamma((m - 1) / 2)) / math.sqrt(m / 2)
