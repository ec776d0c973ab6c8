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

from metriscope.diagnostics import activity
from metriscope.diagnostics.activity import pair_activity, pulls_of_matrix, pulls_of_slopes
from metriscope.objectives import comparison as comparisons
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


def pulls_of(comparison, loss, selection, weight=1.0):
    return pulls_of_slopes(comparison, loss(comparison, selection).slopes, weight)


def weights_of(comparison, pulls):
    return pulls(slice(0, len(comparison.anchors.labels))).abs()


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
    pulls = pulls_of(comparison, loss, selection)
    found = weights_of(comparison, pulls)
    torch.testing.assert_close(found, weights, rtol=1e-5, atol=1e-9)
    counted = pair_activity(comparison, [pulls], True, threshold)
    assert int(counted.active) == int((weights > threshold * weights.max()).sum())
    positive, negative = pairs(LABELS)
    assert int(counted.valid) == len(positive) + len(negative)


def test_a_constant_factor_cancels():
    comparison = compare(embeddings(LABELS), LABELS)
    one, other = (
        pair_activity(comparison, [pulls_of(comparison, TripletLoss(0.3), TripletBand(), factor)], True, 0.1)
        for factor in (1, 1e-6)
    )
    assert one.active == other.active
    assert torch.equal(one.samples, other.samples)


def test_weights_of_several_losses_are_added():
    comparison = compare(embeddings(LABELS), LABELS)
    parts = [
        pulls_of(comparison, TripletLoss(0.3), TripletBand()),
        pulls_of(comparison, ContrastiveLoss(), TripletBand(), 0.5),
    ]
    summed = sum(one(slice(0, len(LABELS))) for one in parts)
    found, wanted = (
        pair_activity(comparison, parts, True, 0.2),
        pair_activity(comparison, [lambda r: summed[r]], True, 0.2),
    )
    assert found.active == wanted.active
    assert torch.equal(found.samples, wanted.samples)


@pytest.mark.parametrize("kept", [0, 10**6])
def test_blocks_of_anchors_make_no_difference(kept, monkeypatch):
    comparison = compare(embeddings(LABELS), LABELS)
    pulls = pulls_of(comparison, TripletLoss(0.3), TripletBand())
    whole = pair_activity(comparison, [pulls], False, 0.3)
    monkeypatch.setattr(activity, "KEPT_PAIRS", kept)
    monkeypatch.setattr(comparisons, "block_rows", lambda *arguments: 2)
    for found, wanted in zip(pair_activity(comparison, [pulls], False, 0.3), whole, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("labels", LAYOUTS.values(), ids=LAYOUTS)
def test_no_weight_is_no_activity(labels):
    comparison = compare(embeddings(labels), labels)
    nothing = torch.zeros_like(comparison.distances)
    found = pair_activity(comparison, [lambda rows: nothing[rows]], True, 1e-3)
    assert not found.active
    assert not found.samples.any()
    assert int(found.valid) == len(labels) * (len(labels) - 1)


def test_the_comparison_stays_as_it_was():
    z = embeddings(LABELS)
    for name in FROM_SIMILARITY:
        comparison = compare(z, LABELS, name)
        before, weights = comparison.distances.detach().clone(), torch.ones_like(comparison.distances)
        pair_activity(comparison, [pulls_of_matrix(comparison, weights)], True, 1e-3)
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
        found = pair_activity(comparison, [pulls_of(comparison, TripletLoss(3.0), TripletBand())], True, 1e-3)
        shares.append(int(found.active) / int(found.valid))
    # With this margin every triplet is active; the pair that touches is the only one without a weight.
    assert shares == [1, 1 - 2 / 56]


@pytest.mark.parametrize("hinge", [True, False])
def test_active_samples(hinge):
    comparison = compare(embeddings(LABELS), LABELS)
    pulls = pulls_of(comparison, TripletLoss(0.1), TripletBand())
    weights = weights_of(comparison, pulls)
    active = weights > (0 if hinge else 0.5 * weights.max())
    found = pair_activity(comparison, [pulls], hinge, 0.5).samples
    assert torch.equal(found, active.any(1) | active.any(0))


def test_active_samples_are_those_in_a_violated_triplet():
    comparison = compare(embeddings(LABELS), LABELS)
    d = comparison.distances.detach()
    violated = [t for t in triplets_of(*pairs(LABELS)) if d[t[0], t[2]] - d[t[0], t[1]] < 0.1]
    pulls = pulls_of(comparison, TripletLoss(0.1), TripletBand())
    weights = weights_of(comparison, pulls)
    involved = {i for t in violated for i in t}
    found = set(pair_activity(comparison, [pulls], True, 1e-3).samples.nonzero().flatten().tolist())
    assert found <= involved
    # A sample whose pulls cancel to exactly nothing has no part in the update.
    assert found >= {i for i in involved if weights[i].any() or weights[:, i].any()}


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
        output, comparison = step.output, step.comparison
        assert [one.part is not None for one in comparison.made] == [True] * narrowed
        if narrowed:
            (part,) = comparison.made
            by_pair, by_z = torch.autograd.grad(output.value, (part.distances, z))
            pulls = pulls_of_matrix(part, by_pair)
        else:
            (by_z,) = torch.autograd.grad(output.value, z)
            pulls = pulls_of_slopes(comparison, output.slopes)
        counted = pair_activity(comparison, [pulls], False, 1e-3)
        found.append((output.value, output.terms, by_z, *counted))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    assert 0 < int(found[0][-1].sum()) < len(labels)
