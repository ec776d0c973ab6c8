"""Distance, miner and loss together, as a run evaluates them."""

import pytest
import torch
from combinations import every
from oracles import DISTANCES, LAYOUTS, embeddings, gradient

from metriscope.objectives.losses.pairs.contrastive import ContrastiveLoss
from metriscope.objectives.losses.triplets.triplet import TripletLoss
from metriscope.objectives.miners.bands import AllMiner, BandMiner, NoMiner
from metriscope.objectives.miners.batch_hard import BatchEasyPositiveMiner, BatchHardMiner
from metriscope.objectives.miners.pair_margin import PairMarginMiner
from metriscope.objectives.miners.sampled import DistanceWeightedMiner, RandomMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Moment, Spaces

MINERS = [AllMiner(), BandMiner(0.0, 0.2), BatchHardMiner(), BatchEasyPositiveMiner("semihard")]
MINERS += [PairMarginMiner(), NoMiner(), RandomMiner(2), DistanceWeightedMiner()]
LOSSES = [TripletLoss(), ContrastiveLoss()]
FITTING = [(loss, miner) for loss in LOSSES for miner in MINERS if miner.kind in loss.accepts]


@pytest.mark.parametrize("name", sorted(DISTANCES))
@pytest.mark.parametrize(
    ("loss", "miner"), FITTING, ids=lambda part: type(part).__name__.removesuffix("Miner").removesuffix("Loss")
)
@every(labels=LAYOUTS, dtype=(torch.float64, torch.float32, torch.bfloat16))
def test_every_batch_gives_a_value_and_a_gradient(loss, miner, name, labels, dtype):
    z = embeddings(labels, dtype)
    step = Objective(DISTANCES[name](), miner, loss)(
        Spaces.of(z, torch.tensor(labels)), Moment(generator=torch.Generator().manual_seed(0))
    )
    value, active, terms = step.output.value, step.output.active, step.output.terms
    assert value.shape == active.shape == terms.shape == ()
    assert not active.dtype.is_floating_point
    assert not terms.dtype.is_floating_point
    assert 0 <= int(active) <= int(terms)
    assert value.isfinite()
    assert value.requires_grad
    assert gradient(value, z).isfinite().all()
    assert (value.item() > 0) == (int(active) > 0)
    for part in step.output.parts.values():
        assert part.shape == ()
        assert not part.requires_grad


@pytest.mark.parametrize("miner", MINERS[:-2], ids=lambda miner: type(miner).__name__)
def test_order_of_the_batch_does_not_matter(miner):
    labels = torch.tensor(LAYOUTS["few classes"])
    z = embeddings(labels.tolist()).detach()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    objective = Objective(DISTANCES["euclidean"](), miner, TripletLoss())
    one, two = (objective(Spaces.of(z[rows], labels[rows])).output for rows in (slice(None), order))
    assert one.value.item() == pytest.approx(two.value.item(), rel=1e-6)
    assert (int(one.active), int(one.terms)) == (int(two.active), int(two.terms))
