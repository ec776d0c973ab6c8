"""The hardest share of pairs against sorted lists."""

import math

import pytest
import torch
from combinations import every
from miner_cases import all_cases, case, pair_sets, peer_pairs, rows
from pytorch_metric_learning.miners import HDCMiner as Peer

from metriscope.objectives.miners import hdc
from metriscope.objectives.miners.hdc import HardAwareCascadeMiner
from metriscope.objectives.selection import as_pairs


def loop(comparison, share):
    positive = {(a, p): d[p] for a, d, positives, _ in rows(comparison) for p in positives}
    negative = {(a, n): -d[n] for a, d, _, negatives in rows(comparison) for n in negatives}
    found = []
    for hardness in (positive, negative):
        ranked = sorted(hardness.values(), reverse=True)
        count = math.ceil(share * len(ranked))
        found.append({pair for pair, hard in hardness.items() if count and hard >= ranked[count - 1]})
    return tuple(found)


@pytest.fixture(params=["host counts", "no host"])
def path(request, monkeypatch):
    if request.param == "no host":
        monkeypatch.setattr(hdc, "_edge", hdc._edge_by_sorting)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1.0])
@all_cases
def test_every_pair(path, layout, further, share):
    comparison = case(layout, further)
    assert pair_sets(HardAwareCascadeMiner(share)(comparison), comparison) == loop(comparison, share)


def test_a_cascade_is_the_product_of_its_shares():
    comparison = case([0] * 4 + [1] * 4)
    half = as_pairs(HardAwareCascadeMiner(0.5)(comparison), comparison)
    level = case([0] * 4 + [1] * 4)
    level._kept.masks = half.positive, half.negative
    found, wanted = pair_sets(HardAwareCascadeMiner(0.4)(level), level), HardAwareCascadeMiner(0.2)(comparison)
    assert found == pair_sets(wanted, comparison)


@every(layout=["few classes", "many classes", "uneven, with a singleton", "one class"], share=(0.1, 0.5, 1.0))
def test_equals_pytorch_metric_learning_but_for_ties(layout, share):
    comparison = case(layout, seed=1)
    for found, wanted, d in zip(
        pair_sets(HardAwareCascadeMiner(share)(comparison), comparison),
        peer_pairs(Peer(filter_percentage=share), comparison),
        (comparison.distances.detach(), -comparison.distances.detach()),
        strict=True,
    ):
        assert wanted <= found
        edge = min((float(d[pair]) for pair in wanted), default=0.0)
        assert all(float(d[pair]) == pytest.approx(edge, abs=1e-12) for pair in found - wanted)


def test_collapsed_embeddings_are_all_equally_hard():
    comparison = case("few classes")
    comparison._kept.distances = torch.zeros_like(comparison.distances)
    found = as_pairs(HardAwareCascadeMiner(0.1)(comparison), comparison)
    assert torch.equal(found.positive, comparison.positive)
    assert torch.equal(found.negative, comparison.negative)
