from oracles import INF, compare, embeddings

from metriscope.objectives.miners.bands import AllMiner, BandMiner, NoMiner
from metriscope.objectives.selection import TripletBand


def test_bands():
    comparison = compare(embeddings([0, 0, 1]), [0, 0, 1])
    for miner in (AllMiner(), NoMiner(), BandMiner()):
        assert miner(comparison) == TripletBand(-INF, INF)
    assert BandMiner(0.0, 0.2)(comparison) == TripletBand(0.0, 0.2)
    assert BandMiner(None, 0.0)(comparison) == TripletBand(-INF, 0.0)
    assert BandMiner(0.2, None)(comparison) == TripletBand(0.2, INF)
