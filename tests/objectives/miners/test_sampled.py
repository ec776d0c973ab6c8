"""Miners that draw, against the chances that their definition gives."""

import pytest
import torch
from combinations import every
from miner_cases import by_anchor, chosen, distances
from oracles import DISTANCES, LAYOUTS, compare, distance_table, embeddings, pairs

from metriscope.objectives.miners import sampled
from metriscope.objectives.miners.base import draw
from metriscope.objectives.miners.sampled import DistanceWeightedMiner, RandomMiner


@every(labels=LAYOUTS)
def test_random_draws_valid_triplets_only(labels):
    found = chosen(RandomMiner(3)(compare(embeddings(labels), labels)))
    full = [a for a, ps, ns in by_anchor(labels) if ps and ns]
    assert [a for a, _, _ in found] == [a for a in full for _ in range(3)]
    assert all(labels[a] == labels[p] != labels[n] and a != p for a, p, n in found)


def test_random_is_uniform():
    labels = [0, 0, 0, 1, 1, 2]
    count = 4000
    found = chosen(RandomMiner(count)(compare(embeddings(labels), labels)))
    for a, ps, ns in by_anchor(labels):
        mine = [(p, n) for b, p, n in found if b == a]
        for p in ps:
            for n in ns:
                share = 1 / (len(ps) * len(ns))
                spread = (share * (1 - share) / count) ** 0.5
                assert mine.count((p, n)) / count == pytest.approx(share, abs=5 * spread)


def unit(labels, size, **options):
    return torch.nn.functional.normalize(embeddings(labels, size=size, **options).detach(), dim=1)


def density_weights(d, dimension, cutoff, limit):
    """1 / q(d) with q the density of the distance on the unit sphere, Wu et al. eq. 6."""
    weights = []
    for x in d:
        x = max(x, cutoff)
        q = x ** (dimension - 2) * (1 - x * x / 4) ** ((dimension - 3) / 2)
        weights.append(1 / q if x < limit else 0.0)
    return weights


@every(labels=LAYOUTS)
def test_distance_weighted_gives_each_positive_pair_a_negative(labels):
    z = unit(labels, 4)
    found = DistanceWeightedMiner(0.5, 1.4)(compare(z, labels))
    d, wanted = distance_table("euclidean", z), []
    for a, ps, ns in by_anchor(labels):
        near = [n for n in ns if d[a][n] < 1.4]
        wanted += [(a, p) for p in ps if near]
        assert all(n in near for b, _, n in chosen(found) if b == a)
    assert [(a, p) for a, p, _ in chosen(found)] == wanted
    assert len(found.anchor) == len(pairs(labels)[0])


@distances
@pytest.mark.parametrize("size", [3, 16, 128])
def test_distance_weighted_follows_the_formula(size, name):
    copies = 1500
    labels = [0] * 2 + list(range(1, 9))
    z = unit(labels, size, seed=1)
    d = distance_table("euclidean", z)
    weights = density_weights([float(d[0][n]) for n in range(2, 10)], size, 0.5, 1.41)
    wanted = torch.tensor(weights, dtype=torch.float64) / sum(weights)
    counts = torch.zeros(8, dtype=torch.float64)
    miner = DistanceWeightedMiner(0.5, 1.41)
    comparison = compare(z, labels, name)
    for _ in range(copies):
        found = miner(comparison)
        counts[found.negative[found.anchor == 0] - 2] += 1
    spread = (wanted * (1 - wanted) / copies).sqrt()
    assert counts.sum() == copies
    assert ((counts / copies - wanted).abs() <= 5 * spread + 1e-12).all()


@distances
@pytest.mark.parametrize("size", [2, 3, 4, 16])
def test_distance_weights_are_those_of_the_formula(monkeypatch, size, name):
    """To the digit, where a draw only tells to a few per cent."""
    seen = []

    def watched(weights, count, generator):
        seen.append(weights)
        return draw(weights, count, generator)

    monkeypatch.setattr(sampled, "draw", watched)
    labels = [0, 0, 1, 1, 2, 3]
    z = unit(labels, size, seed=2)
    DistanceWeightedMiner(0.4, 1.7)(compare(z, labels, name))
    d = distance_table("euclidean", z)
    for a, _, ns in by_anchor(labels):
        wanted = torch.zeros(len(labels), dtype=torch.float64)
        wanted[ns] = torch.tensor(density_weights([float(d[a][n]) for n in ns], size, 0.4, 1.7), dtype=torch.float64)
        total = wanted.sum()
        if total > 0:
            torch.testing.assert_close(seen[0][a] / seen[0][a].sum(), wanted / total, rtol=1e-6, atol=1e-9)
        else:
            assert seen[0][a].sum() == 0


def test_distance_weighted_survives_many_dimensions_and_touching_embeddings():
    """In 2048 dimensions the weights span hundreds of orders of magnitude."""
    labels = [0, 0, 1, 1, 2, 2]
    for name in DISTANCES:
        z = unit(labels, 2048)
        z[2], z[4] = z[0], -z[0]
        found = DistanceWeightedMiner(0.5, 2.0)(compare(z.float(), labels, name))
        assert all(labels[a] == labels[p] != labels[n] for a, p, n in chosen(found))
        assert found.valid.sum() == 6


@pytest.mark.parametrize("miner", [RandomMiner(4), DistanceWeightedMiner(0.5, 1.99)], ids=["random", "weighted"])
@every(labels=LAYOUTS)
def test_same_generator_same_draw(labels, miner):
    z = unit(labels, 4)
    first, again, other = (miner(compare(z, labels, seed=seed)) for seed in (1, 1, 2))
    assert chosen(first) == chosen(again)
    if len(set(labels)) > 1 and len(labels) > 8:
        assert chosen(first) != chosen(other)


def test_the_draw_does_not_touch_the_global_generator():
    z, labels = unit([0, 0, 1, 1], 4), [0, 0, 1, 1]
    before = torch.get_rng_state()
    for miner in (RandomMiner(), DistanceWeightedMiner()):
        miner(compare(z, labels))
    assert torch.equal(before, torch.get_rng_state())


@every(labels=LAYOUTS)
def test_a_list_of_known_length_holds_the_same_triplets(labels):
    """What a GPU gets, so that the host need not wait for the number of positive pairs."""
    comparison = compare(unit(labels, 4), labels, seed=1)
    wanted = DistanceWeightedMiner(0.5, 1.99)(comparison)
    positive = comparison.positive
    counts = positive.sum(1)
    drawn = torch.zeros(len(labels), max(1, int(counts.max())), dtype=torch.int64)
    drawn[wanted.anchor, positive.cumsum(1)[wanted.anchor, wanted.positive] - 1] = wanted.negative
    drawable = torch.zeros(len(labels), dtype=torch.bool).index_fill(0, wanted.anchor[wanted.valid], True)
    found = sampled._padded(positive, counts, drawn, drawable)
    assert chosen(found) == chosen(wanted)
