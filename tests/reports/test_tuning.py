"""The expected best of k trials against every set of k trials, and the price of tuning by hand."""

import itertools
import math

import numpy as np
import pytest

from metriscope.reports.tuning import expected_best, price


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("n", [1, 2, 7, 9])
def test_the_expected_best_is_the_mean_over_all_sets(n: int, sign: int) -> None:
    values = np.random.default_rng(n).integers(0, 6, n) / 7
    best = max if sign > 0 else min
    every = [np.mean([best(some) for some in itertools.combinations(values, k)]) for k in range(1, n + 1)]
    assert expected_best(values.tolist(), sign) == pytest.approx(every)


def test_the_expected_best_of_many_trials_neither_overflows_nor_falls() -> None:
    values = np.random.default_rng(0).normal(size=3000)
    curve = expected_best(values.tolist())
    assert curve[0] == pytest.approx(values.mean())
    assert curve[-1] == pytest.approx(values.max())
    assert (np.diff(curve) >= -1e-12).all()
    ordered = np.sort(values)[::-1]
    k = 40
    exact = sum(v * math.comb(3000 - i, k - 1) / math.comb(3000, k) for i, v in enumerate(ordered[:2961], start=1))
    assert curve[k - 1] == pytest.approx(exact)


@pytest.mark.parametrize("values", [[], [0.1, math.nan]])
def test_values_that_are_none_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        expected_best(values)


def test_the_price_of_tuning_by_hand() -> None:
    # The best of two of 0, 0.5 and 1 is 0.5, 1, or 1: 0.8333 on average, of three it is 1.
    found = price([0.0, 0.5, 1.0], default=0.0, seconds=12.0)
    assert (found.trials, found.default, found.best, found.gain, found.seconds) == (3, 0.0, 1.0, 1.0, 12.0)
    assert found.trials_needed == 3
    assert price([0.5, 0.9, 1.0], default=0.5, seconds=1.0).trials_needed == 2
    # Lower is better.
    assert price([3.0, 2.0, 1.0], default=3.0, seconds=1.0, sign=-1).gain == 2.0
    assert price([3.0, 2.0, 1.0], default=3.0, seconds=1.0, sign=-1).best == 1.0


def test_a_default_that_nothing_beats_and_none() -> None:
    best = price([1.0, 0.5], default=1.0, seconds=1.0)
    assert (best.gain, best.trials_needed) == (0.0, 0)
    none = price([1.0, 0.5], default=None, seconds=1.0)
    assert (none.default, none.gain, none.trials_needed, none.best) == (None, None, None, 1.0)
