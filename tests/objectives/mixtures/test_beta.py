"""Quantiles of Beta distributions from a table."""

import pytest
import torch
from scipy.stats import beta

from metriscope.objectives.mixtures.beta import BetaDraw


@pytest.mark.parametrize(("a", "b"), [(2, 2), (2, 8), (0.4, 0.4)])
def test_quantiles(a, b):
    levels = torch.rand(1000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = BetaDraw(a, b)(levels)
    assert found.shape == levels.shape
    apart = (found - torch.from_numpy(beta.ppf(levels.numpy(), a, b))).abs()
    assert apart.max() < 3e-3
    assert apart[(levels > 0.01) & (levels < 0.99)].max() < 1e-4


def test_the_ends_and_no_state():
    draw = BetaDraw(2, 2)
    found = draw(torch.tensor([0.0, 0.5, 1 - 2**-53], dtype=torch.float64))
    assert found[0] == 0
    assert found[1] == pytest.approx(0.5)
    assert 0.99 < found[2] < 1
    assert not draw.state_dict()
