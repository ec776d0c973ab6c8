"""The hardest and the easiest of each anchor against a loop over lists."""

import pytest
from combinations import every
from miner_cases import by_anchor, chosen, distances
from oracles import LAYOUTS, compare, distance_table, embeddings

from metriscope.objectives.miners.batch_hard import BatchEasyPositiveMiner, BatchHardMiner


@distances
@every(labels=LAYOUTS)
def test_batch_hard(labels, name):
    z = embeddings(labels)
    d = distance_table(name, z)
    wanted = [
        (a, max(ps, key=lambda p: d[a][p]), min(ns, key=lambda n: d[a][n]))
        for a, ps, ns in by_anchor(labels)
        if ps and ns
    ]
    assert chosen(BatchHardMiner()(compare(z, labels, name))) == wanted


@distances
@pytest.mark.parametrize("kind", ["hard", "semihard"])
@every(labels=LAYOUTS)
def test_batch_easy_positive(labels, name, kind):
    z = embeddings(labels)
    d, wanted = distance_table(name, z), []
    for a, ps, ns in by_anchor(labels):
        if ps:
            p = min(ps, key=lambda p: d[a][p])
            ns = [n for n in ns if kind == "hard" or d[a][n] > d[a][p]]
            wanted += [(a, p, min(ns, key=lambda n: d[a][n]))] if ns else []
    assert chosen(BatchEasyPositiveMiner(kind)(compare(z, labels, name))) == wanted
