"""Loss decay per epoch and per run."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metriscope.diagnostics.decay import decay_rate, exponential_fit


def test_decay_rate():
    assert decay_rate(2.0, 1.5) == pytest.approx(0.25)
    assert decay_rate(1.0, 3.0) == pytest.approx(-2.0)
    assert decay_rate(1.0, 0.0) == 1.0
    assert decay_rate(0.0, 0.0) == 0.0
    assert decay_rate(0.0, 1.0) == 0.0


@settings(deadline=None, derandomize=True)
@given(st.floats(-2, 2), st.floats(0.01, 100), st.integers(2, 30))
def test_an_exponential_is_fitted_exactly(rate, first, epochs):
    fit = exponential_fit([first * math.exp(-rate * t) for t in range(epochs)])
    assert fit.rate == pytest.approx(rate, abs=1e-9)
    if rate > 1e-6:
        assert fit.half_life == pytest.approx(math.log(2) / rate, rel=1e-3)
        halved = first * math.exp(-rate * fit.half_life)
        assert halved == pytest.approx(first / 2, rel=1e-3)
    elif rate < -1e-6:
        assert fit.half_life == math.inf


@settings(deadline=None, derandomize=True)
@given(st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=20))
def test_the_fit_is_least_squares_on_the_logarithm(losses):
    slope = np.polyfit(np.arange(len(losses)), np.log(losses), 1)[0]
    assert exponential_fit(losses).rate == pytest.approx(-slope, abs=1e-6)


def test_zeros_and_infinities_are_left_out_but_keep_their_epoch():
    losses = [math.exp(-0.5 * t) for t in range(6)]
    losses[2], losses[4] = 0.0, math.inf
    assert exponential_fit(losses).rate == pytest.approx(0.5)


@pytest.mark.parametrize("losses", [[], [1.0], [0.0, 0.0, 0.0], [1.0, 0.0], [math.nan, 1.0]])
def test_too_little_to_fit(losses):
    assert exponential_fit(losses) is None
