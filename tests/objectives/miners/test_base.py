import math

import pytest
import torch
from oracles import LAYOUTS, compare, embeddings

from metriscope.objectives.miners.base import draw
from metriscope.objectives.miners.batch_hard import BatchEasyPositiveMiner, BatchHardMiner
from metriscope.objectives.miners.pair_margin import PairMarginMiner
from metriscope.objectives.miners.sampled import DistanceWeightedMiner


def test_draw_leaves_out_columns_without_weight():
    weights = torch.tensor([[0.0, 1.0, 0.0, 3.0, 0.0], [2.0, 0.0, 0.0, 0.0, 0.0]])
    found = draw(weights, 8000, torch.Generator().manual_seed(0))
    assert set(found[0].tolist()) == {1, 3}
    assert set(found[1].tolist()) == {0}
    assert (found[0] == 3).double().mean().item() == pytest.approx(0.75, abs=5 * math.sqrt(0.75 * 0.25 / 8000))


def test_choices_carry_no_gradient():
    z, labels = embeddings(LAYOUTS["few classes"]), LAYOUTS["few classes"]
    for miner in (PairMarginMiner(), BatchHardMiner(), BatchEasyPositiveMiner(), DistanceWeightedMiner()):
        selection = miner(compare(z, labels))
        assert not any(getattr(value, "requires_grad", False) for value in vars(selection).values())
