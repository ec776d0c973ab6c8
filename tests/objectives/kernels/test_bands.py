"""Sums over bands of triplets against the set of triplets listed one by one."""

import math

import pytest
import torch
from combinations import every
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import INF, listed, triplets_of

from metriscope.objectives import classes
from metriscope.objectives.kernels import bands
from metriscope.objectives.kernels.gradient import attach

PATHS = {"each positive in turn": 10**9, "binary search": -1}
BANDS = {
    "all": (-INF, INF),
    "violating": (-INF, 0.3),
    "semihard": (0.0, 0.3),
    "hard": (-INF, 0.0),
    "easy": (0.3, INF),
    "wide": (-0.2, 0.9),
    "beyond the margin": (0.5, 0.9),
    "empty": (0.4, -0.4),
    "a point": (0.1, 0.1),
}


def brute(d, positive, negative, margin, low, high):
    weights, total, active = torch.zeros_like(d, dtype=torch.float64), 0.0, 0
    for a, p, n in triplets_of(listed(positive), listed(negative)):
        gap = float(d[a, n]) - float(d[a, p])
        if low < gap < high and gap < margin:
            total += margin - gap
            active += 1
            weights[a, p] += 1
            weights[a, n] -= 1
    return weights, total, active


def case(rows, columns, seed, dtype=torch.float64, share=0.4):
    source = torch.Generator().manual_seed(seed)
    d = torch.rand(rows, columns, generator=source, dtype=torch.float64).to(dtype)
    kind = torch.rand(rows, columns, generator=source)
    return d, kind < share, (kind >= share) & (kind < 0.9)


def band_sums(d, positive, negative, *band):
    return bands.band_sums(d.detach(), classes.listed(positive), negative.to(d.dtype), *band)


def hold(found, wanted):
    weights, total, active = wanted
    assert torch.equal(found.weights.double(), weights)
    assert int(found.active.sum()) == active
    assert float(found.totals.sum()) == pytest.approx(total, rel=1e-9, abs=1e-9)
    assert found.totals.dtype == torch.float64
    assert found.totals.shape == found.active.shape == found.weights.shape[:1]
    assert found.active.dtype == torch.int64


@pytest.fixture(params=PATHS.values(), ids=PATHS)
def path(request, monkeypatch):
    monkeypatch.setattr(bands, "_FEW_POSITIVES", request.param)


@every(band=BANDS, margin=(0.0, 0.2, 0.3, 2.0))
def test_every_band(path, band, margin):
    d, positive, negative = case(9, 14, seed=3)
    hold(band_sums(d, positive, negative, margin, *band), brute(d, positive, negative, margin, *band))


@every(shape=[(0, 0), (1, 1), (1, 5), (4, 1), (3, 7)], share=(0.0, 1.0))
def test_without_triplets_there_is_nothing(path, shape, share):
    d, positive, negative = case(*shape, seed=5, share=share)
    found = band_sums(d, positive, negative & ~positive, 0.5, -INF, INF)
    assert found.weights.shape == shape
    hold(found, brute(d, positive, negative & ~positive, 0.5, -INF, INF))


def test_float32_counts_in_float64(path):
    d, positive, negative = case(40, 60, seed=6, dtype=torch.float32)
    found = band_sums(d, positive, negative, 0.25, -INF, 0.25)
    weights, total, active = brute(d, positive, negative, 0.25, -INF, 0.25)
    assert found.weights.dtype == torch.float32
    assert abs(int(found.active.sum()) - active) <= 2  # at the edge, d - margin is rounded
    assert (found.weights.double() - weights).abs().max() <= 1
    assert float(found.totals.sum()) == pytest.approx(total, rel=1e-7)


def test_both_paths_agree_around_the_switch(monkeypatch):
    for positives in (7, 8, 9, 10):
        d = torch.rand(6, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(positives))
        positive = torch.zeros(6, 30, dtype=torch.bool)
        positive[:, :positives] = True
        found = band_sums(d, positive, ~positive, 0.2, 0.0, 0.2)
        hold(found, brute(d, positive, ~positive, 0.2, 0.0, 0.2))


quarters = st.integers(-8, 8).map(lambda n: n / 4)
edges = st.one_of(quarters, st.just(-INF), st.just(INF))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 8), st.sampled_from("pn-")), min_size=4, max_size=4), max_size=4),
    quarters.map(abs),
    edges,
    edges,
    st.booleans(),
)
def test_ties_fall_on_the_open_side(cells, margin, low, high, search):
    """Distances in quarters are exact, so every edge of the band is met and none is a matter of rounding."""
    shape = (len(cells), 4)
    d = torch.tensor([[c[0] / 4 for c in row] for row in cells], dtype=torch.float32).reshape(shape)
    positive = torch.tensor([[c[1] == "p" for c in row] for row in cells], dtype=torch.bool).reshape(shape)
    negative = torch.tensor([[c[1] == "n" for c in row] for row in cells], dtype=torch.bool).reshape(shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bands, "_FEW_POSITIVES", -1 if search else 10**9)
        found = band_sums(d, positive, negative, margin, low, high)
    hold(found, brute(d, positive, negative, margin, low, high))


def test_sums_carry_no_graph_and_leave_the_distances_alone():
    d, positive, negative = case(5, 8, seed=7)
    d.requires_grad_()
    before = d.detach().clone()
    found = band_sums(d, positive, negative, 0.2, -INF, INF)
    assert not found.weights.requires_grad
    assert not found.totals.requires_grad
    assert torch.equal(d.detach(), before)


def test_weights_are_the_derivative():
    d, positive, negative = case(5, 8, seed=8)
    d.requires_grad_()
    sums = band_sums(d, positive, negative, 0.2, -INF, 0.2)
    value = attach(sums.totals.sum(), [(d, sums.weights)])
    (found,) = torch.autograd.grad(3 * value, d)
    total = sum((0.2 - d[a, n] + d[a, p]).clamp_min(0) for a, p, n in triplets_of(listed(positive), listed(negative)))
    (wanted,) = torch.autograd.grad(3 * total, d)
    torch.testing.assert_close(found, wanted)
    assert math.isclose(float(value.detach()), float(total.detach()))
