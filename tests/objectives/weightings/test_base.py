"""Weights of pairs and of anchors: 1 is none, 0 is left out, and every loss that takes them means the same."""

import pytest
import torch
from oracles import embeddings
from toy_parts import AboveAverage, Evenly

from metriscope.config.objective import shipped
from metriscope.errors import InputError
from metriscope.losses import FastAPLoss, InfoNCELoss, SupConLoss, TripletLoss
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.miners.bands import AllMiner, NoMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Samples, Spaces
from metriscope.objectives.selection import Pairs, TripletBand
from metriscope.objectives.weightings.base import Weighting

LABELS = [0, 0, 0, 1, 1, 1, 2, 2]
WEIGHABLE = {name: part for name, part in shipped("loss").items() if part.weighable}
BY_PAIRS = {name: part for name, part in WEIGHABLE.items() if "pairs" in part.weighable}


class Rows(Weighting):
    """Anchors with weights of their own."""

    weighs = frozenset({"rows"})

    def __init__(self, weights):
        super().__init__()
        self.weights = weights

    def weigh_rows(self, losses, index, moment):
        return self.weights[index].unsqueeze(1)


def step(loss, weighting=None, labels=LABELS):
    z = embeddings(labels)
    miner = AllMiner() if "all" in loss.accepts else NoMiner()
    objective = Objective(Cosine(), miner, loss, weighting=weighting)
    output = objective(Spaces.of(z, torch.tensor(labels), torch.arange(len(labels)), trunk=z)).output
    return output, torch.autograd.grad(output.value, z)[0]


def judged(loss, pairs):
    z = embeddings(LABELS)
    objective = Objective(Cosine(), AllMiner(), loss)
    output = loss(objective.compare(Samples.of(z, torch.tensor(LABELS))), pairs)
    return output.value, torch.autograd.grad(output.value, z)[0]


@pytest.mark.parametrize("name", WEIGHABLE)
def test_one_everywhere_changes_no_bit(name):
    loss = WEIGHABLE[name]()
    (plain, by_plain), weighting = step(loss), Evenly(1.0)
    weighting.weighs = frozenset(loss.weighable)
    weighed, by_weighed = step(loss, weighting)
    assert torch.equal(weighed.value, plain.value)
    assert torch.equal(by_weighed, by_plain)
    assert torch.equal(weighed.rows, plain.rows)


@pytest.mark.parametrize("name", WEIGHABLE)
def test_the_weight_of_an_anchor_is_a_factor_of_its_loss(name):
    loss, weights = WEIGHABLE[name](), torch.tensor([1.0, 0, 2, 1, 3, 0.5, 0, 1], dtype=torch.float64)
    plain, _ = step(loss)
    weighed, gradient = step(loss, Rows(weights))
    torch.testing.assert_close(weighed.value, (plain.rows * weights).sum() / plain.terms, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(weighed.rows, plain.rows)
    some = [step(loss, Rows(torch.eye(8, dtype=torch.float64)[k]))[1] for k in range(8)]
    wanted = sum(weight * one for weight, one in zip(weights, some, strict=True))
    torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", WEIGHABLE)
def test_an_anchor_says_how_many_terms_it_gives(name):
    output, _ = step(WEIGHABLE[name](), labels=[0, 0, 0, 1, 1, 2])
    assert output.counts.sum() == output.terms
    assert not output.rows[output.counts == 0].any()
    torch.testing.assert_close(output.costs * output.counts, output.rows)


@pytest.mark.parametrize("name", BY_PAIRS)
def test_pairs_without_weight_are_left_out(name):
    loss, z = BY_PAIRS[name](), embeddings(LABELS)
    comparison = Objective(Cosine(), AllMiner(), loss).compare(Samples.of(z, torch.tensor(LABELS)))
    kept = torch.rand(comparison.shape, generator=torch.Generator().manual_seed(1)) < 0.6
    # Each anchor keeps a pair of each kind, so that the same anchors count.
    kept |= comparison.positive.cumsum(1) == 1
    kept |= comparison.negative.cumsum(1) == 1
    positive, negative = comparison.positive & kept, comparison.negative & kept
    value, gradient = judged(loss, Pairs(comparison.positive, negative))
    every = Pairs(comparison.positive, comparison.negative, None, kept.double())
    for one, other in zip(judged(loss, every), (value, gradient), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    if name in ("supcon", "nca", "multi_similarity", "circle", "sigmoid", "sogclr", "isogclr", "cacr"):
        return  # the rest divides by the number of positive pairs, which a weight of 0 does not change
    value, gradient = judged(loss, Pairs(positive, comparison.negative))
    share = int(positive.sum()) / int(comparison.positive.sum())
    every = Pairs(comparison.positive, comparison.negative, kept.double())
    for one, other in zip(judged(loss, every), (value * share, gradient * share), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_weighted_softmax_by_hand():
    z = embeddings(LABELS)
    comparison = Objective(Cosine(), AllMiner(), InfoNCELoss()).compare(Samples.of(z, torch.tensor(LABELS)))
    source = torch.Generator().manual_seed(4)
    up, down = (torch.rand(comparison.shape, dtype=torch.float64, generator=source) for _ in range(2))
    pairs, s = Pairs(comparison.positive, comparison.negative, up, down), comparison.similarities
    nce, supcon, anchors, number = 0, 0, 0, 0
    for a in range(8):
        others = [j for j in range(8) if LABELS[j] != LABELS[a]]
        own = [j for j in range(8) if LABELS[j] == LABELS[a] and j != a]
        pushed = sum(down[a, n] * (s[a, n] / 0.5).exp() for n in others)
        nce = nce + sum(up[a, p] * (1 + pushed / (s[a, p] / 0.5).exp()).log() for p in own)
        everybody = pushed + sum((s[a, p] / 0.5).exp() for p in own)
        mean = sum(up[a, p] * (everybody.log() - s[a, p] / 0.5) for p in own) / sum(up[a, p] for p in own)
        supcon, anchors, number = supcon + mean, anchors + 1, number + len(own)
    for loss, wanted in ((InfoNCELoss(0.5), nce / number), (SupConLoss(0.5), supcon / anchors)):
        found, by_found = judged(loss, pairs)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
        (by_wanted,) = torch.autograd.grad(wanted, z, retain_graph=True)
        torch.testing.assert_close(by_found, by_wanted, rtol=1e-10, atol=1e-12)


def test_a_loss_that_cannot_use_weights_says_so():
    with pytest.raises(InputError, match="TripletLoss cannot use weights of rows"):
        Objective(Cosine(), AllMiner(), TripletLoss(), weighting=AboveAverage())
    with pytest.raises(InputError, match="FastAPLoss cannot use weights of pairs"):
        Objective(Cosine(), NoMiner(), FastAPLoss(), weighting=Evenly())


def test_the_base_class_weighs_by_one():
    comparison = Objective(Cosine(), AllMiner(), InfoNCELoss()).compare(
        Samples.of(embeddings(LABELS), torch.tensor(LABELS))
    )
    pairs = Pairs(comparison.positive, comparison.negative)
    assert Weighting().weigh_pairs(comparison, pairs) is pairs
    assert Weighting().weigh_rows(torch.zeros(3, 1), torch.arange(3), None).tolist() == [[1.0]] * 3
    assert TripletBand().at(slice(1, 2)) == TripletBand()
