"""Every legal combination of strategies against picking from lists, and against pytorch-metric-learning."""

import itertools

import pytest
import torch
from combinations import every
from miner_cases import all_cases, case, pair_sets, peer_pairs, rows
from oracles import LAYOUTS
from pytorch_metric_learning.miners import BatchEasyHardMiner as Peer

from metriscope.errors import InputError
from metriscope.objectives.losses.triplets.triplet import TripletLoss
from metriscope.objectives.miners.batch_easy_hard import STRATEGIES, BatchEasyHardMiner
from metriscope.objectives.miners.batch_hard import BatchHardMiner

REFUSED = {("semihard", "semihard"), ("all", "semihard"), ("semihard", "all")}
COMBINATIONS = [pair for pair in itertools.product(STRATEGIES, STRATEGIES) if pair not in REFUSED]


def chosen(strategy, d, candidates, furthest, beyond):
    """Candidates by strategy; ``beyond`` says which are semi-hard."""
    if strategy == "semihard":
        candidates = [j for j in candidates if beyond(j)]
    if strategy == "all" or not candidates:
        return candidates
    return [max(candidates, key=lambda j: d[j]) if furthest else min(candidates, key=lambda j: d[j])]


def loop(comparison, positive, negative, positive_range=(0, 9), negative_range=(0, 9)):
    found = set(), set()
    for a, d, positives, negatives in rows(comparison):
        positives = [j for j in positives if positive_range[0] <= d[j] <= positive_range[1]]
        negatives = [j for j in negatives if negative_range[0] <= d[j] <= negative_range[1]]
        if positive == "semihard":
            n = chosen(negative, d, negatives, negative == "easy", None)
            p = chosen(positive, d, positives, True, lambda j, n=n, d=d: n and d[j] < d[n[0]])
        else:
            p = chosen(positive, d, positives, positive == "hard", None)
            n = chosen(negative, d, negatives, negative == "easy", lambda j, p=p, d=d: p and d[j] > d[p[0]])
        if "all" in (positive, negative) or (p and n):
            found[0].update((a, j) for j in p)
            found[1].update((a, j) for j in n)
    return found


@pytest.mark.parametrize("strategies", COMBINATIONS, ids="-".join)
@all_cases
def test_every_anchor(layout, further, strategies):
    comparison = case(layout, further)
    assert pair_sets(BatchEasyHardMiner(*strategies)(comparison), comparison) == loop(comparison, *strategies)


@pytest.mark.parametrize("strategies", COMBINATIONS, ids="-".join)
def test_ranges_narrow_every_strategy(strategies):
    comparison, ranges = case("few classes", "memory"), ([0.5, 1.3], [0.8, 1.5])
    wanted = loop(comparison, *strategies, *ranges)
    assert pair_sets(BatchEasyHardMiner(*strategies, *ranges)(comparison), comparison) == wanted


@pytest.mark.parametrize("strategies", COMBINATIONS, ids="-".join)
@every(layout=list(LAYOUTS))
def test_equals_pytorch_metric_learning(layout, strategies):
    comparison = case(layout, seed=1)
    wanted = peer_pairs(Peer(*strategies), comparison)
    assert pair_sets(BatchEasyHardMiner(*strategies)(comparison), comparison) == wanted


def test_hard_hard_is_batch_hard_to_a_triplet_loss():
    comparison, loss = case("few classes", "memory"), TripletLoss(0.7)
    wanted = loss(comparison, BatchHardMiner()(comparison))
    found = loss(comparison, BatchEasyHardMiner("hard", "hard")(comparison))
    torch.testing.assert_close(found.value, wanted.value)
    assert (found.active, found.terms) == (wanted.active, wanted.terms)


@pytest.mark.parametrize("strategies", sorted(REFUSED))
def test_meaningless_combinations_are_refused(strategies):
    with pytest.raises(InputError, match="semihard is relative to one chosen pair"):
        BatchEasyHardMiner(*strategies)


def test_unknown_words_and_empty_ranges_are_refused():
    with pytest.raises(InputError, match="one of all, easy, semihard, hard"):
        BatchEasyHardMiner("semi-hard", "hard")
    with pytest.raises(InputError, match=r"negative_range=\[1.0, 0.5\]"):
        BatchEasyHardMiner("easy", "hard", negative_range=[1.0, 0.5])
