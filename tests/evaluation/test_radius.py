"""Radii of embeddings, and delta-hyperbolicity against all four-point conditions."""

import itertools

import pytest
import torch

from metriscope.errors import InputError
from metriscope.evaluation.radius import clipped_share, delta_hyperbolicity, mean_radius, suggested_curvature
from metriscope.evaluation.search.curved import Curved


def test_radii_and_clipped_embeddings():
    u = torch.tensor([[0.0, 1.0], [3.0, 4.0]])
    assert mean_radius(u) == 3.0
    assert mean_radius(u, Curved(0.1, 2.0)) == 1.5
    assert (clipped_share(u, Curved(0.1, 2.0)), clipped_share(u, Curved(0.1)), clipped_share(u)) == (0.5, 0.0, 0.0)


def test_delta_is_the_largest_four_point_gap_at_the_first_row():
    z = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    d = torch.cdist(z, z)

    def product(i, j):
        return float(d[0, i] + d[0, j] - d[i, j]) / 2

    gaps = [min(product(i, k), product(k, j)) - product(i, j) for i, j, k in itertools.product(range(7), repeat=3)]
    assert delta_hyperbolicity(z) == pytest.approx(2 * max(gaps) / float(d.max()), abs=1e-12)


def test_points_of_a_line_are_a_tree():
    with pytest.raises(InputError, match="those of a tree"):
        suggested_curvature(torch.arange(5.0).unsqueeze(1))
    with pytest.raises(InputError, match="two different"):
        delta_hyperbolicity(torch.ones(3, 2))
