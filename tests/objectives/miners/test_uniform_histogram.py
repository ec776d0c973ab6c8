"""Even draws over a histogram: how many of each bin, and with what chance each pair."""

from collections import Counter, defaultdict

import pytest
import torch
from miner_cases import all_cases, case, pair_sets, rows
from pytorch_metric_learning.miners import UniformHistogramMiner as Peer

from metriscope.objectives.miners.uniform_histogram import UniformHistogramMiner


def histogram(distance, bins):
    """Pairs by bin, from a dict of pairs to distances."""
    found = defaultdict(set)
    if distance:
        low, high = min(distance.values()), max(distance.values())
        for pair, d in distance.items():
            found[min(bins - 1, int((d - low) / ((high - low) / bins))) if high > low else 0].add(pair)
    return found


def tables(comparison, bins):
    positive = {(a, p): d[p] for a, d, positives, _ in rows(comparison) for p in positives}
    negative = {(a, n): d[n] for a, d, _, negatives in rows(comparison) for n in negatives}
    return histogram(positive, bins), histogram(negative, bins)


@pytest.mark.parametrize(("bins", "per_bin"), [(1, 1), (4, 3), (10, 2), (5, 1000)])
@all_cases
def test_every_bin_gives_its_number(layout, further, bins, per_bin):
    comparison = case(layout, further)
    found = pair_sets(UniformHistogramMiner(bins, per_bin, per_bin)(comparison))
    for drawn, table in zip(found, tables(comparison, bins), strict=True):
        assert drawn <= set().union(*table.values())
        for pairs in table.values():
            assert len(drawn & pairs) == min(per_bin, len(pairs))


def test_kinds_have_their_own_numbers():
    comparison = case("few classes")
    positive, negative = pair_sets(UniformHistogramMiner(1, 4, 7)(comparison))
    assert (len(positive), len(negative)) == (4, 7)


def test_pairs_of_a_bin_have_the_same_chance():
    comparison, counts, draws = case([0, 0, 0, 1, 1]), Counter(), 2000
    for _ in range(draws):
        counts.update(pair_sets(UniformHistogramMiner(1, 1, 5)(comparison))[1])
    shares = torch.tensor([count / draws for count in counts.values()])
    assert len(counts) == 12
    assert (shares - 5 / 12).abs().max() < 0.05


def test_draws_follow_the_generator():
    first, again, other = (pair_sets(UniformHistogramMiner(3, 2, 2)(case("few classes", seed=0))) for _ in range(3))
    assert first == again == other
    moved = case("few classes")
    moved.moment.generator.manual_seed(5)
    assert pair_sets(UniformHistogramMiner(3, 2, 2)(moved)) != first


def test_fills_the_bins_that_pytorch_metric_learning_fills():
    comparison, bins = case([0] * 8 + [1] * 8), 6
    ours = pair_sets(UniformHistogramMiner(bins, 1000, 1000)(comparison))
    a1, p, a2, n = Peer(bins, 500, 500)(comparison.anchors.embeddings.detach(), comparison.anchors.labels)
    theirs = set(zip(a1.tolist(), p.tolist(), strict=True)), set(zip(a2.tolist(), n.tolist(), strict=True))
    assert ours == theirs  # 500 draws with replacement meet each of at most 40 pairs of a bin
