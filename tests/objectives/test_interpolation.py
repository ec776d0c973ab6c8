"""Interpolated negatives against embeddings that are really interpolated."""

import pytest
import torch
from miner_cases import blended
from oracles import DISTANCES, distance, embeddings
from torch.nn.functional import normalize

from metriscope.objectives.interpolation import interpolated

NAMES = sorted(DISTANCES)


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_distance_and_gradient_of_an_interpolated_negative(name, spherical):
    z = embeddings([0] * 3)
    if spherical:
        z = normalize(z.detach(), dim=1).requires_grad_()
    built = DISTANCES[name]()
    # The way of a run: normalisation is part of the graph.
    points = normalize(z, dim=1) if spherical else z
    table = built(points, points)
    for share in (0.0, 0.2, 0.5, 0.9, 1.0):
        found = interpolated(
            built, table[0, 1], table[0, 2], table[1, 2], torch.tensor(share, dtype=torch.float64), spherical
        )
        wanted = distance(name, points[0], blended(name, points, 1, 2, share, spherical))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
        a, b = (torch.autograd.grad(x, z, retain_graph=True)[0] for x in (found, wanted))
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)
