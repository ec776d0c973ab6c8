"""How often one method beats another: P(A > B) over paired repeats, and a paired test over queries."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from metriscope.reports.statistics import CONFIDENCE, Interval, bootstrap_interval, t_quantile

THRESHOLD = 0.75
"""P(A > B) from which a difference is worth acting on (Bouthillier et al., arXiv:2103.03098, section 4)."""

FEWEST = 6
"""Pairs from which there is a verdict: of fewer, even if A wins all, an exact sign test gives no p below 5 %."""

Verdict = Literal["better", "slightly better", "not told apart", "slightly worse", "worse"]


@dataclass(frozen=True)
class Superiority:
    """How often A beats B over ``n`` pairs.

    Attributes:
        probability: share of pairs in which A is better; a tie counts half.
        interval: percentile interval over resampled pairs; None for one pair. Where all pairs agree it has no width,
            however few they are.
        verdict: ``better`` where the interval lies above 1/2 and its upper end above :data:`THRESHOLD`; ``slightly
            better`` where it lies above 1/2 and does not reach the threshold; the same for worse; None for fewer pairs
            than :data:`FEWEST`.
    """

    n: int
    probability: float
    interval: Interval | None
    verdict: Verdict | None


def superiority(
    values: Sequence[float], others: Sequence[float], sign: int = 1, confidence: float = CONFIDENCE, seed: int = 0
) -> Superiority:
    """P(A > B) over paired repeats with the bootstrap interval and the threshold of arXiv:2103.03098.

    Args:
        values: of A, one for each repeat.
        others: of B, in the same order.
        sign: 1 if higher is better, -1 if lower is better.
        seed: of the bootstrap.

    Raises:
        ValueError: no pairs, unequal lengths, or values that are not finite.
    """
    first, second = _paired(values, others)
    gains = np.sign(sign * (first - second)) / 2 + 0.5
    interval = bootstrap_interval(gains, confidence, seed) if len(gains) > 1 else None
    verdict = _verdict(*interval) if interval is not None and len(gains) >= FEWEST else None
    return Superiority(len(gains), float(gains.mean()), interval, verdict)


def repeats_needed(threshold: float = THRESHOLD, error: float = 0.05) -> int:
    """Pairs from which P(A > B) = ``threshold`` is told from 1/2, both kinds of error below ``error`` (Noether, 1987).

    29 for the default, as in arXiv:2103.03098, appendix C.
    """
    from scipy.special import ndtri

    distance = float(ndtri(1 - error) - ndtri(error))
    return math.ceil((distance / (math.sqrt(6) * (threshold - 0.5))) ** 2)


@dataclass(frozen=True)
class QueryDifference:
    """Paired difference over ``n`` queries, first minus second.

    The queries share the models, the gallery and the classes, so the interval and p speak of these models on this
    kind of query, and not of other models that the same method would give.

    Attributes:
        mean: mean of the differences.
        interval: t interval of the mean; None for one query.
        better: share of queries on which the first is better; a tie counts half.
        p_t: p of the paired t test; None where all differences are equal.
        p_wilcoxon: p of the signed-rank test by its normal approximation; None where all differences are zero.
    """

    n: int
    mean: float
    interval: Interval | None
    better: float
    p_t: float | None
    p_wilcoxon: float | None


def query_difference(values: ArrayLike, others: ArrayLike, confidence: float = CONFIDENCE) -> QueryDifference:
    """A paired test over queries, such as their average precision under two models; O(n log n).

    Raises:
        ValueError: no pairs, unequal lengths, or values that are not finite.
    """
    from scipy.special import stdtr
    from scipy.stats import wilcoxon

    first, second = _paired(values, others)
    x = first - second
    n, mean = len(x), float(x.mean())
    error = float(x.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
    half = float(t_quantile(n - 1, confidence)) * error if n > 1 else 0.0
    # Differences that are equal up to rounding have no standard error to divide by.
    varied = error > 1e-12 * float(max(np.abs(first).max(), np.abs(second).max()))
    ranked = wilcoxon(x, method="asymptotic", zero_method="wilcox").pvalue if n > 1 and x.any() else None
    return QueryDifference(
        n=n,
        mean=mean,
        interval=(mean - half, mean + half) if n > 1 else None,
        better=float((np.sign(x) / 2 + 0.5).mean()),
        p_t=float(2 * stdtr(n - 1, -abs(mean) / error)) if varied else None,
        p_wilcoxon=None if ranked is None else float(ranked),
    )


def _paired(values: ArrayLike, others: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    first, second = np.asarray(values, dtype=np.float64), np.asarray(others, dtype=np.float64)
    if first.shape != second.shape:
        raise ValueError(f"{first.size} values against {second.size}: pairs are needed")
    if first.ndim != 1 or not first.size or not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("at least one value is needed, and finite ones only")
    return first, second


def _verdict(low: float, high: float) -> Verdict:
    if low > 0.5:
        return "better" if high > THRESHOLD else "slightly better"
    if high < 0.5:
        return "worse" if low < 1 - THRESHOLD else "slightly worse"
    return "not told apart"
