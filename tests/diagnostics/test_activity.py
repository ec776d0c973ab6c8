"""Pair weights and active samples against loops, and against autograd on the similarities themselves."""

from copy import deepcopy

import pytest
import torch
from oracles import (
    INF,
    LAYOUTS,
    compare,
    contrastive_account,
    embeddings,
    gradient,
    pairs,
    triplet_account,
    triplets_of,
)

from metriscope.diagnostics.activity import active_samples, pair_activity
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.losses.pairs.contrastive import ContrastiveLoss
from metriscope.objectives.losses.softmax import n_pair
from metriscope.objectives.losses.softmax.n_pair import NPairLoss
from metriscope.objectives.losses.triplets.triplet import TripletLoss
from metriscope.objectives.miners.bands import NoMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.objectives.samples import Samples, Spaces
from metriscope.objectives.selection import TripletBand

FROM_SIMILARITY = {
    "euclidean": lambda s: (2 - 2 * s).sqrt(),
    "squared_euclidean": lambda s: 2 - 2 * s,
    "cosine": lambda s: 1 - s,
}
LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 3]
LOSSES = {
    "triplet": (
        TripletLoss(0.1),
        TripletBand(-INF, 0.1),
        lambda d: triplet_account(d, triplets_of(*pairs(LABELS)), 0.1, "mean", -INF, 0.1),
    ),
    "contrastive": (
        ContrastiveLoss(0.9),
        TripletBand(),
        lambda d: contrastive_account(d, *pairs(LABELS), 0.9, 0.0, True, "mean"),
    ),
}


def distance_gradient(comparison, loss, selection):
    return torch.autograd.grad(loss(comparison, selection).value, comparison.distances)[0]


@pytest.mark.parametrize("name", FROM_SIMILARITY)
@pytest.mark.parametrize(("loss", "selection", "account"), LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize("threshold", [1e-3, 0.5])
def test_weights_are_the_gradient_by_the_similarities(loss, selection, account, name, threshold):
    z = torch.nn.functional.normalize(embeddings(LABELS).detach(), dim=1).requires_grad_()
    similarities = (z.detach() @ z.detach().T).requires_grad_()
    d = [
        [FROM_SIMILARITY[name](similarities[i, j]) if i != j else None for j in range(len(LABELS))]
        for i in range(len(LABELS))
    ]
    weights = gradient(account(d).value, similarities).abs()
    comparison = compare(z, LABELS, name)
    activity = pair_activity(comparison, distance_gradient(comparison, loss, selection), threshold)
    torch.testing.assert_close(activity.weights, weights, rtol=1e-5, atol=1e-9)
    largest = max(weights.flatten().tolist())
    for i in range(len(LABELS)):
        for j in range(len(LABELS)):
            assert bool(activity.active[i, j]) == (float(weights[i, j]) > threshold * largest)
    positive, negative = pairs(LABELS)
    assert int(activity.valid) == len(positive) + len(negative)


def test_a_constant_factor_cancels():
    z = embeddings(LABELS)
    comparison = compare(z, LABELS)
    weights = distance_gradient(comparison, TripletLoss(0.3), TripletBand())
    one, other = (pair_activity(comparison, weights * factor, 0.1).active for factor in (1, 1e-6))
    assert torch.equal(one, other)


@pytest.mark.parametrize("labels", LAYOUTS.values(), ids=LAYOUTS)
def test_no_weight_is_no_activity(labels):
    comparison = compare(embeddings(labels), labels)
    activity = pair_activity(comparison, torch.zeros_like(comparison.distances), 1e-3)
    assert not activity.active.any()
    assert not active_samples(activity, True, comparison).any()
    assert int(activity.valid) == len(labels) * (len(labels) - 1)


def test_the_comparison_stays_as_it_was():
    z = embeddings(LABELS)
    for name in FROM_SIMILARITY:
        comparison = compare(z, LABELS, name)
        before, weights = comparison.distances.detach().clone(), torch.ones_like(comparison.distances)
        pair_activity(comparison, weights, 1e-3)
        assert torch.equal(comparison.distances.detach(), before)
        assert torch.equal(weights, torch.ones_like(weights))


def test_touching_pairs_do_not_outweigh_all_others():
    """The slope of the plain distance has a pole at 0; rounding must not make it the largest weight."""
    labels = [0, 0, 1, 1, 2, 2, 3, 3]
    z = torch.nn.functional.normalize(embeddings(labels, torch.float32, size=32).detach(), dim=1)
    apart = compare(z.clone().requires_grad_(), labels)
    z[1] = z[0]
    touching = compare(z.requires_grad_(), labels)
    shares = []
    for comparison in (apart, touching):
        activity = pair_activity(comparison, distance_gradient(comparison, TripletLoss(3.0), TripletBand()), 1e-3)
        shares.append(int(activity.active.sum()) / int(activity.valid))
    # With this margin every triplet is active; the pair that touches is the only one without a weight.
    assert shares == [1, 1 - 2 / 56]


@pytest.mark.parametrize("hinge", [True, False])
def test_active_samples(hinge):
    z = embeddings(LABELS)
    comparison = compare(z, LABELS)
    activity = pair_activity(comparison, distance_gradient(comparison, TripletLoss(0.1), TripletBand()), 0.5)
    found = active_samples(activity, hinge, comparison)
    for i in range(len(LABELS)):
        touched = [(i, j) for j in range(len(LABELS))] + [(j, i) for j in range(len(LABELS))]
        wanted = any(activity.weights[p] > 0 if hinge else activity.active[p] for p in touched)
        assert bool(found[i]) == wanted


def test_active_samples_are_those_in_a_violated_triplet():
    z = embeddings(LABELS)
    comparison = compare(z, LABELS)
    d = comparison.distances.detach()
    violated = [t for t in triplets_of(*pairs(LABELS)) if d[t[0], t[2]] - d[t[0], t[1]] < 0.1]
    activity = pair_activity(comparison, distance_gradient(comparison, TripletLoss(0.1), TripletBand()), 1e-3)
    involved = {i for t in violated for i in t}
    found = set(active_samples(activity, True, comparison).nonzero().flatten().tolist())
    assert found <= involved
    # A sample whose pulls cancel to exactly nothing has no part in the update.
    assert found >= {i for i in involved if activity.weights[i].any() or activity.weights[:, i].any()}


@pytest.mark.parametrize("memory", [False, True])
def test_a_part_is_counted_as_the_whole_that_it_is_of(memory, monkeypatch):
    labels, past = torch.tensor([0, 0, 1, 0, 2, 1, 3]), CrossBatchMemory(8, 4) if memory else None
    if past is not None:
        past.store(Samples.of(embeddings([0] * 5, seed=1).detach(), torch.tensor([2, 0, 4, 4, 1])))
    found = []
    for narrowed in (True, False):
        loss = NPairLoss(anchors="first")
        if not narrowed:
            monkeypatch.setattr(n_pair, "_may_look", lambda comparison: False)
        z = embeddings(labels.tolist())
        objective = Objective(Cosine(), NoMiner(), loss, [] if past is None else [deepcopy(past)])
        step = objective(Spaces.of(z, labels))
        output, (comparison,) = step.output, step.comparison.made
        assert (comparison.part is not None) == narrowed
        by_pair, by_z = torch.autograd.grad(output.value, (comparison.distances, z))
        activity = pair_activity(comparison, by_pair, 1e-3)
        samples = active_samples(activity, False, comparison)
        found.append((output.value, output.terms, by_z, activity.active.sum(), activity.valid, samples))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert 0 < int(found[0][-1].sum()) < len(labels)
