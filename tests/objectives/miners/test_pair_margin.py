from combinations import every
from miner_cases import distances
from oracles import LAYOUTS, compare, distance_table, embeddings, listed, pairs

from metriscope.objectives.miners.pair_margin import PairMarginMiner
from metriscope.objectives.selection import as_pairs


@distances
@every(labels=LAYOUTS)
def test_pair_margin(labels, name):
    z = embeddings(labels)
    d, (positive, negative) = distance_table(name, z), pairs(labels)
    comparison = compare(z, labels, name)
    found = as_pairs(PairMarginMiner(0.5, 0.7)(comparison), comparison)
    assert listed(found.positive) == [(i, j) for i, j in positive if d[i][j] > 0.5]
    assert listed(found.negative) == [(i, j) for i, j in negative if d[i][j] < 0.7]
