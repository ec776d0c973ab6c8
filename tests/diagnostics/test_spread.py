"""The spread of negatives against loops, its worked example, and its two ends."""

import math

import pytest
import torch
from oracles import LAYOUTS, compare, embeddings, pairs

from metriscope.callbacks.greediness import judged_matrices, pull_measures
from metriscope.diagnostics.activity import pulls_of_slopes
from metriscope.diagnostics.spread import negative_spread, proxy_spread
from metriscope.losses import (
    ContrastiveLoss,
    InfoNCELoss,
    NormalizedSoftmaxLoss,
    SoftTripleLoss,
    SupConLoss,
    TripletLoss,
)
from metriscope.objectives import comparison as comparisons
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.miners.bands import AllMiner, NoMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.objectives import Objectives
from metriscope.objectives.samples import Spaces

EX = torch.tensor(
    [(1, 0), (0.8, 0.6), (0.28, -0.96), (0.6, 0.8), (0, 1), (-0.96, 0.28)], dtype=torch.float64
)  # fmt: skip
CLASSES = torch.tensor([0, 0, 0, 1, 1, 2])


def measured(objective, z, labels):
    z = z.clone().requires_grad_()
    step = objective(Spaces.of(z, labels))
    by_z, *by_pair = torch.autograd.grad(step.output.value, [z, *judged_matrices(step)], allow_unused=True)
    return step, pull_measures(step, by_pair, by_z, objective.hinge, 1e-3, spread=True)


def share(weights):
    """exp(entropy) over the number of weights; None where all are 0."""
    total = sum(weights)
    if total == 0:
        return None
    return math.exp(-sum(w / total * math.log(w / total) for w in weights if w > 0)) / len(weights)


def by_hand(weights, negative):
    """Of a matrix of weights: the sum over anchors, and how many are pushed."""
    rows = [[float(weights[i, j]) for j in range(weights.shape[1]) if (i, j) in negative] for i in range(len(weights))]
    found = [one for one in map(share, rows) if one is not None]
    return sum(found), len(found)


@pytest.mark.parametrize(
    ("temperature", "wanted"), [(0.07, 0.363958122538), (0.5, 0.728314402091), (5, 0.993656389530)]
)
def test_the_worked_example(temperature, wanted):
    _, found = measured(Objective(Cosine(), AllMiner(), InfoNCELoss(temperature)), EX, CLASSES)
    total, anchors = found["negative_spread"]
    assert int(anchors) == 5, "one sample has no positive, and so no push"
    assert float(total / anchors) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("rows", [100, 2])
def test_spread_is_that_of_loops(rows, monkeypatch):
    monkeypatch.setattr(comparisons, "block_rows", lambda *arguments: rows)
    labels = LAYOUTS["uneven, with a singleton"]
    for loss in (TripletLoss(0.3), SupConLoss(0.1), ContrastiveLoss(0.9)):
        objective = Objective(Euclidean(), AllMiner(), loss)
        step, found = measured(objective, embeddings(labels).detach(), torch.tensor(labels))
        (account,) = step.accounts
        weights = pulls_of_slopes(account.comparison, account.output.slopes)(slice(0, len(labels))).abs()
        total, anchors = found["negative_spread"]
        assert (float(total), int(anchors)) == pytest.approx(by_hand(weights, set(pairs(labels)[1])), rel=1e-9)


def test_one_negative_that_pushes_and_all_alike():
    comparison = compare(embeddings([0, 0, 1, 1, 1]), [0, 0, 1, 1, 1])
    one = torch.zeros(5, 5, dtype=torch.float64)
    one[0, 3], one[0, 1], one[2, 1] = 1e-300, 7, -2
    found = negative_spread(comparison, [lambda rows: one[rows]])
    assert (float(found.total), int(found.anchors)) == (pytest.approx(1 / 3 + 1 / 2), 2)
    found = negative_spread(comparison, [lambda rows: one.new_ones(5, 5)[rows]] * 2)
    assert (float(found.total), int(found.anchors)) == (pytest.approx(5), 5)
    found = negative_spread(comparison, [lambda rows: one.new_zeros(5, 5)[rows]])
    assert (float(found.total), int(found.anchors)) == (0, 0)


@pytest.mark.parametrize("labels", LAYOUTS.values(), ids=LAYOUTS)
def test_degenerate_batches(labels):
    _, found = measured(
        Objective(Cosine(), AllMiner(), InfoNCELoss()), embeddings(labels).detach(), torch.tensor(labels)
    )
    total, anchors = found["negative_spread"]
    assert 0 <= float(total) <= int(anchors) * (1 + 1e-12)
    assert int(anchors) == len({a for a, _ in pairs(labels)[0]} & {a for a, _ in pairs(labels)[1]})


@pytest.mark.parametrize(
    "loss", [NormalizedSoftmaxLoss(4, 3, temperature=0.2), SoftTripleLoss(4, 3)], ids=["softmax", "several vectors"]
)
def test_proxies_of_other_classes_are_negatives(loss):
    labels = torch.tensor([0, 3, 1, 1, 7])
    objective = Objective(Cosine(), NoMiner(), loss).double()
    z = embeddings(labels.tolist(), size=3).detach().requires_grad_()
    step = objective(Spaces.of(z, labels))
    gradient, by_z = torch.autograd.grad(step.output.value, [step.output.similarities, z])
    negative = {(i, j) for i in range(5) for j in range(gradient.shape[1]) if j % 4 != labels[i]}
    wanted = by_hand(gradient.abs(), negative)
    assert wanted[1] == 4, "a sample of an unknown class has no term"
    found = pull_measures(step, [gradient], by_z, objective.hinge, 1e-3, spread=True)["negative_spread"]
    assert (float(found[0]), int(found[1])) == pytest.approx(wanted, rel=1e-9)
    assert float(proxy_spread(gradient, labels, 4).total) == float(found[0])


def test_losses_that_compare_alike_are_added_and_others_stand_apart():
    z, labels = embeddings([0, 0, 1, 1, 2, 2]).detach(), torch.tensor([0, 0, 1, 1, 2, 2])
    same = [Objective(Cosine(), AllMiner(), loss) for loss in (TripletLoss(), SupConLoss())]
    same[1].distance = same[0].distance
    assert "negative_spread" in measured(Objectives(same, [1, 1]), z, labels)[1]
    apart = [Objective(Euclidean(), AllMiner(), TripletLoss()), Objective(Cosine(), AllMiner(), SupConLoss())]
    _, found = measured(Objectives(apart, [1, 1]), z, labels)
    assert {name for name in found if "spread" in name} == {"negative_spread_0", "negative_spread_1"}
    alone = measured(apart[1], z, labels)[1]["negative_spread"]
    assert [float(one) for one in found["negative_spread_1"]] == pytest.approx([float(one) for one in alone])
