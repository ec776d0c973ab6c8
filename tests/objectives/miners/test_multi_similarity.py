"""Multi-similarity mining against its two inequalities, pair by pair."""

import pytest
from combinations import every
from miner_cases import all_cases, case, pair_sets, peer_pairs, rows
from oracles import LAYOUTS
from pytorch_metric_learning.miners import MultiSimilarityMiner as Peer

from metriscope.objectives.miners.multi_similarity import MultiSimilarityMiner


def loop(comparison, epsilon):
    positive, negative = set(), set()
    s = comparison.similarities.tolist()
    for a, _, positives, negatives in rows(comparison):
        if positives and negatives:
            least, most = min(s[a][p] for p in positives), max(s[a][n] for n in negatives)
            positive |= {(a, p) for p in positives if s[a][p] < most + epsilon}
            negative |= {(a, n) for n in negatives if s[a][n] > least - epsilon}
    return positive, negative


@pytest.mark.parametrize("epsilon", [-0.2, 0.1, 3.0])
@pytest.mark.parametrize("name", ["cosine", "euclidean"])
@all_cases
def test_every_pair(layout, further, name, epsilon):
    comparison = case(layout, further, name)
    assert pair_sets(MultiSimilarityMiner(epsilon)(comparison), comparison) == loop(comparison, epsilon)


@every(layout=list(LAYOUTS))
def test_equals_pytorch_metric_learning(layout):
    comparison = case(layout, name="cosine", seed=1)
    assert pair_sets(MultiSimilarityMiner(0.1)(comparison), comparison) == peer_pairs(Peer(epsilon=0.1), comparison)
