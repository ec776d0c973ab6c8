"""Angular mining against the angles of all triplets."""

import math
from collections import Counter

import pytest
import torch
from miner_cases import all_cases, case, rows, triplet_set
from pytorch_metric_learning.miners import AngularMiner as Peer

from metriscope.objectives.losses.pairs.contrastive import ContrastiveLoss
from metriscope.objectives.losses.triplets.triplet import TripletLoss
from metriscope.objectives.miners import angular
from metriscope.objectives.miners.angular import AngularMiner


def loop(comparison, degrees):
    z, found = comparison.references.embeddings.detach(), set()
    for a, _, positives, negatives in rows(comparison):
        for p in positives:
            for n in negatives:
                apart, height = (z[a] - z[p]).norm(), (z[n] - (z[a] + z[p]) / 2).norm()
                if math.degrees(math.atan2(float(apart), 2 * float(height))) > degrees:
                    found.add((a, p, n))
    return found


@pytest.mark.parametrize(("name", "chunk"), [("euclidean", 1), ("cosine", 40), ("squared_euclidean", 1 << 18)])
@all_cases
def test_every_triplet(monkeypatch, layout, further, name, chunk):
    monkeypatch.setattr(angular, "_CHUNK_CELLS_CPU", chunk)
    comparison = case(layout, further, name)
    for degrees in (0.0, 35.0, 60.0):
        assert triplet_set(AngularMiner(degrees)(comparison)) == loop(comparison, degrees)


@pytest.mark.parametrize("degrees", [20, 35, 45])
def test_equals_pytorch_metric_learning(degrees):
    comparison = case([0] * 6 + [1] * 6 + [2] * 2, seed=1)
    a, p, n = Peer(angle=degrees)(comparison.anchors.embeddings.detach(), comparison.anchors.labels)
    wanted = set(zip(a.tolist(), p.tolist(), n.tolist(), strict=True))
    assert triplet_set(AngularMiner(degrees)(comparison)) == wanted
    assert wanted


@pytest.mark.parametrize("limit", [1, 7, 50])
def test_a_bounded_list_is_an_even_sample(monkeypatch, limit):
    monkeypatch.setattr(angular, "_CHUNK_CELLS_CPU", 30)
    comparison, counts, draws = case("few classes"), Counter(), 300
    everything = loop(comparison, 40)
    for _ in range(draws):
        found = triplet_set(AngularMiner(40, limit)(comparison))
        assert len(found) == limit
        counts.update(found)
    assert set(counts) <= everything
    if limit == 50:
        shares = torch.tensor([counts[triplet] / draws for triplet in everything])
        assert (shares - limit / len(everything)).abs().max() < 0.12


def test_a_bound_that_holds_changes_nothing():
    comparison = case("few classes", "memory")
    everything = triplet_set(AngularMiner(40, None)(comparison))
    assert triplet_set(AngularMiner(40, len(everything))(comparison)) == everything


@pytest.mark.parametrize("layout", ["one class", "all singletons", "one sample"])
def test_without_triplets_losses_are_zero(layout):
    comparison = case(layout)
    selection = AngularMiner()(comparison)
    for loss in (TripletLoss(), ContrastiveLoss()):
        output = loss(comparison, selection)
        (gradient,) = torch.autograd.grad(output.value, comparison.anchors.embeddings, retain_graph=True)
        assert output.value == 0
        assert output.terms == 0
        assert not gradient.any()
