"""Pairs and groups against slow, obvious loops."""

from itertools import combinations

import numpy as np
import pytest
import torch

from metriscope.data.audit import near
from metriscope.data.audit.near import Components, close_pairs, groups


def loop_pairs(rows, limit):
    rows = rows.double()
    distances = {
        (i, j): float(((rows[i] - rows[j]).square().sum() / 2).sqrt()) for i, j in combinations(range(len(rows)), 2)
    }
    return {pair: value for pair, value in distances.items() if value <= limit}


def found_pairs(rows, limit):
    return {
        (i, j): d
        for some in close_pairs(rows, limit)
        for i, j, d in zip(*(part.tolist() for part in some), strict=True)
    }


@pytest.mark.parametrize("side", [7, 64])
@pytest.mark.parametrize("limit", [0.2, 0.9])
def test_every_pair_is_found(monkeypatch, side, limit):
    monkeypatch.setattr(near, "_SIDE", side)
    rows = torch.nn.functional.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)))
    rows[20] = rows[3]
    rows[40] = torch.nan
    expected = loop_pairs(rows, limit)
    found = found_pairs(rows, limit)
    assert found.keys() == expected.keys()
    assert expected
    assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("scale", [1, 1000.0])
def test_rounding_decides_nothing(scale):
    """Of pairs on both sides of the limit, nearer to it than float32 can tell, those within it are found."""
    base = torch.zeros(1, 300, dtype=torch.float64)
    base[0, 0] = scale
    steps = torch.tensor([1 - 1e-6, 1 + 1e-6, 1 - 1e-7, 1 + 1e-7], dtype=torch.float64) * 0.1 * 2**0.5
    rows = base.repeat(5, 1)
    rows[range(1, 5), range(1, 5)] = steps
    rows = rows.float()
    assert found_pairs(rows, 0.1).keys() == loop_pairs(rows, 0.1).keys()
    assert {(0, 1), (0, 3)} <= found_pairs(rows, 0.1).keys()


def test_nothing_of_nothing():
    assert found_pairs(torch.empty(0, 3), 0.5) == {}
    assert found_pairs(torch.full((3, 2), torch.nan), 0.5) == {}


@pytest.mark.parametrize("at_once", [1, 1000])
def test_components_are_those_of_a_walk(monkeypatch, at_once):
    monkeypatch.setattr(near, "_EDGES", at_once)
    draw = np.random.default_rng(0)
    edges = [draw.integers(0, 60, (2, 9)) for _ in range(4)]
    graph = Components(60)
    for i, j in edges:
        graph.connect(i, j)
    found = graph.found()
    expected = list(range(60))
    for _ in range(60):
        for i, j in np.concatenate(edges, 1).T:
            expected[i] = expected[j] = min(expected[i], expected[j])
    assert {(found[i] == found[j]) == (expected[i] == expected[j]) for i, j in combinations(range(60), 2)} == {True}


def test_groups_of_equal_keys():
    assert groups(np.array([5, 2, 5, 9, 2, 5])) == [[0, 2, 5], [1, 4]]
    assert groups(np.array([], dtype=np.int64)) == []
