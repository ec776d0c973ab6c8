"""P(A > B) against written-out resamples, and the test over queries against SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from metriscope.reports.statistics import RESAMPLES
from metriscope.reports.superiority import query_difference, repeats_needed, superiority


def test_the_share_of_pairs_by_hand_with_ties_as_halves() -> None:
    found = superiority([3.0, 1.0, 2.0, 5.0], [1.0, 2.0, 2.0, 4.0])
    assert (found.n, found.probability) == (4, (1 + 0 + 0.5 + 1) / 4)
    lower_is_better = superiority([3.0, 1.0, 2.0, 5.0], [1.0, 2.0, 2.0, 4.0], sign=-1)
    assert lower_is_better.probability == 1 - found.probability


@pytest.mark.parametrize("n", [5, 10, 30])
def test_the_interval_is_that_of_resampled_pairs(n: int) -> None:
    draw = np.random.default_rng(n)
    a, b = draw.integers(0, 6, n) / 5, draw.integers(0, 5, n) / 5
    found = superiority(a.tolist(), b.tolist(), seed=n)
    picked = np.random.default_rng(1).integers(0, n, (4 * RESAMPLES, n))
    shares = ((a > b) + 0.5 * (a == b))[picked].mean(axis=1)
    # Quantiles lie on a grid of halves of pairs, of which two independent draws may take neighbours.
    assert found.interval == pytest.approx(tuple(np.quantile(shares, [0.025, 0.975])), abs=0.5 / n + 1e-9)
    assert found.interval[0] <= found.probability <= found.interval[1]


def test_the_interval_of_three_pairs_by_all_resamples() -> None:
    gains = [1.0, 0.0, 1.0]
    found = superiority(gains, [0.5] * 3)
    every = sorted(np.mean([gains[i], gains[j], gains[k]]) for i in range(3) for j in range(3) for k in range(3))
    assert found.interval == (every[0], every[-1])  # 1/27 and 8/27 of them lie at the ends
    assert found.verdict is None


def test_verdicts_of_the_threshold() -> None:
    ahead = [1.0] * 20
    assert superiority(ahead, [0.0] * 20).verdict == "better"
    assert superiority([0.0] * 20, ahead).verdict == "worse"
    assert superiority(ahead, [0.0, 2.0] * 10).verdict == "not told apart"
    many = [1.0] * 62 + [-1.0] * 38
    assert superiority(many * 5, [0.0] * 500).verdict == "slightly better"
    assert superiority([0.0] * 500, many * 5).verdict == "slightly worse"
    assert superiority(ahead[:6], [0.0] * 6).verdict == "better"
    assert stats.binomtest(6, 6).pvalue < 0.05 < stats.binomtest(5, 5).pvalue
    assert superiority(ahead[:5], [0.0] * 5).verdict is None, "five wins of five may be chance"
    single = superiority([1.0], [0.0])
    assert (single.probability, single.interval, single.verdict) == (1.0, None, None)


def test_repeats_needed_as_published() -> None:
    assert repeats_needed() == 29
    assert repeats_needed(0.6) > repeats_needed(0.9)


@pytest.mark.parametrize("seed", range(4))
def test_a_difference_over_queries_is_that_of_scipy(seed: int) -> None:
    draw = np.random.default_rng(seed)
    a = draw.random(400).round(2)
    b = (a + draw.normal(0.01, 0.1, 400)).round(2)
    found = query_difference(a, b)
    test = stats.ttest_rel(a, b)
    assert (found.n, found.mean) == (400, pytest.approx((a - b).mean()))
    assert found.p_t == pytest.approx(test.pvalue)
    assert found.interval == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found.better == pytest.approx(((a > b).sum() + (a == b).sum() / 2) / 400)
    x = (a - b)[a != b]
    ranks = stats.rankdata(abs(x))
    n = len(x)
    ties = np.unique(ranks, return_counts=True)[1]
    spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24 - (ties**3 - ties).sum() / 48)
    z = (ranks[x > 0].sum() - n * (n + 1) / 4) / spread
    assert found.p_wilcoxon == pytest.approx(2 * stats.norm.sf(abs(z)))


def test_queries_without_a_difference() -> None:
    same = query_difference([0.5, 0.25, 1.0], [0.5, 0.25, 1.0])
    assert (same.mean, same.better, same.p_t, same.p_wilcoxon) == (0.0, 0.5, None, None)
    assert query_difference([1.0], [0.5]).interval is None


@pytest.mark.parametrize("function", [superiority, query_difference])
def test_pairs_that_are_none_are_refused(function) -> None:
    with pytest.raises(ValueError, match="2 values against 1: pairs are needed"):
        function([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="finite"):
        function([1.0, math.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match="at least one value"):
        function([], [])
