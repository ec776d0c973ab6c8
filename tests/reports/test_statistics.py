"""Figures against SciPy, against sums by hand, and against every sign pattern."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from metriscope.reports.statistics import bootstrap_interval, holm, paired_difference, summarize

A = [0.91, 0.88, 0.93, 0.90, 0.95]
B = [0.89, 0.87, 0.88, 0.86, 0.92]


def test_a_mean_and_its_interval() -> None:
    found = summarize(A)
    assert found.n == 5
    assert found.mean == pytest.approx(0.914)
    assert found.std == pytest.approx(math.sqrt(sum((x - 0.914) ** 2 for x in A) / 4))
    expected = stats.t.interval(0.95, 4, loc=np.mean(A), scale=stats.sem(A))
    assert found.interval == pytest.approx(expected)
    # 2.776 is the 97.5 % quantile of t with 4 degrees of freedom in any table.
    assert found.interval[1] - found.mean == pytest.approx(2.776 * found.std / math.sqrt(5), rel=1e-3)


def test_one_value_has_no_spread() -> None:
    found = summarize([0.5])
    assert (found.n, found.mean, found.std, found.interval) == (1, 0.5, None, None)
    pair = paired_difference([0.5], [0.25])
    assert (pair.n, pair.mean) == (1, 0.25)
    assert {pair.interval, pair.bootstrap, pair.effect, pair.p_t, pair.p_wilcoxon} == {None}


@pytest.mark.parametrize("values", [[], [math.nan], [1.0, math.inf]])
def test_values_that_are_none_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        summarize(values)


def test_a_pair_needs_its_partner() -> None:
    with pytest.raises(ValueError, match="pairs are needed"):
        paired_difference([1.0, 2.0], [1.0])


def test_paired_figures_are_those_of_scipy() -> None:
    found = paired_difference(A, B)
    test = stats.ttest_rel(A, B)
    assert found.p_t == pytest.approx(test.pvalue)
    assert found.interval == pytest.approx(tuple(test.confidence_interval(0.95)))
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(A, B).pvalue)
    assert found.mean == pytest.approx(0.03)
    reverse = paired_difference(B, A)
    assert reverse.p_t == found.p_t
    assert reverse.effect == pytest.approx(-found.effect)


def test_the_effect_by_hand() -> None:
    # Differences 1, 2, 3, 4, 5: mean 3, deviation sqrt(2.5); Hedges' factor for 4 degrees of freedom is
    # gamma(2) / (sqrt(2) gamma(1.5)) = 0.797885.
    found = paired_difference([1, 2, 3, 4, 5], [0] * 5)
    assert found.effect == pytest.approx(0.797885 * 3 / math.sqrt(2.5), rel=1e-5)
    assert paired_difference([1, 2], [0, 0]).effect is None


@pytest.mark.parametrize(
    "differences",
    [[3.0, -1.0, 2.5, 4.0, 0.5, -2.0], [1.0, -1.0, 2.0, 2.0, 3.0, 2.0], [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]],
)
def test_signed_ranks_by_every_pattern_of_signs(differences: list[float]) -> None:
    ranks = stats.rankdata(np.abs(differences))
    seen = min(ranks[np.array(differences) > 0].sum(), ranks[np.array(differences) < 0].sum())
    patterns = [sum(r for r, s in zip(ranks, signs, strict=True) if s) for signs in itertools.product((0, 1), repeat=6)]
    expected = 2 * sum(total <= seen for total in patterns) / len(patterns)
    assert paired_difference(differences, [0.0] * 6).p_wilcoxon == pytest.approx(min(1.0, expected))
    with_zeros = [*differences, 0.0, 0.0]
    assert paired_difference(with_zeros, [0.0] * 8).p_wilcoxon == pytest.approx(min(1.0, expected))


@pytest.mark.parametrize("n", [2, 7, 40, 200])
def test_signed_ranks_of_many_pairs(n: int) -> None:
    x = np.random.default_rng(n).normal(0.3, 1.0, n)
    expected = stats.wilcoxon(x, method="exact").pvalue
    assert paired_difference(x.tolist(), [0.0] * n).p_wilcoxon == pytest.approx(expected)


def test_equal_differences_are_told_apart_from_none() -> None:
    same = paired_difference([0.3, 0.6, 0.9], [0.3, 0.6, 0.9])
    assert (same.mean, same.interval, same.p_wilcoxon) == (0.0, (0.0, 0.0), 1.0)
    assert (same.effect, same.p_t) == (None, None)
    shifted = paired_difference([0.4, 0.7, 1.0], [0.3, 0.6, 0.9])
    assert (shifted.effect, shifted.p_t) == (None, None)
    assert shifted.mean == pytest.approx(0.1)


def test_the_bootstrap_depends_on_its_seed_alone() -> None:
    x = np.random.default_rng(3).normal(size=40)
    low, high = bootstrap_interval(x, seed=1)
    assert (low, high) == bootstrap_interval(x, seed=1)
    assert (low, high) != bootstrap_interval(x, seed=2)
    # For 40 normal values the percentile interval is close to that of the normal distribution.
    half = 1.96 * x.std() / math.sqrt(40)
    assert (low, high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.03)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.06, 0.06, None])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_intervals_cover_as_often_as_they_say() -> None:
    draws = np.random.default_rng(0).normal(1.0, 2.0, size=(2000, 5))
    inside = [low <= 1.0 <= high for row in draws for low, high in [summarize(row).interval or (0, 0)]]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)
