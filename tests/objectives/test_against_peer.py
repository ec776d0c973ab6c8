"""Equality with pytorch-metric-learning where the definitions agree: loss, gradient and chosen triplets."""

import pytest
import torch
from oracles import compare, gradient, listed

from metriscope.objectives.losses.pairs.contrastive import ContrastiveLoss
from metriscope.objectives.losses.triplets.triplet import TripletLoss
from metriscope.objectives.miners.bands import AllMiner, BandMiner
from metriscope.objectives.miners.batch_hard import BatchEasyPositiveMiner, BatchHardMiner
from metriscope.objectives.miners.pair_margin import PairMarginMiner
from metriscope.objectives.selection import as_pairs

peer_losses = pytest.importorskip("pytorch_metric_learning.losses")
peer_miners = pytest.importorskip("pytorch_metric_learning.miners")
peer_distances = pytest.importorskip("pytorch_metric_learning.distances")

MARGIN = 0.2
PEER = {
    "euclidean": lambda: peer_distances.LpDistance(normalize_embeddings=False),
    "squared_euclidean": lambda: peer_distances.LpDistance(normalize_embeddings=False, power=2),
}
BANDS = {
    "all": BandMiner(None, MARGIN),  # the peer's "all" are all that violate the margin
    "semihard": BandMiner(0.0, MARGIN),
    "hard": BandMiner(None, 0.0),
    "easy": BandMiner(MARGIN, None),
}
SHAPES = {"few classes": 3, "many classes": 16}


@pytest.fixture(params=SHAPES.values(), ids=SHAPES)
def batch(request):
    source = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(48, 8, generator=source, dtype=torch.float64), dim=1)
    return z.requires_grad_(), torch.arange(48) % request.param


def same(found, wanted, z):
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    torch.testing.assert_close(gradient(found, z), gradient(wanted, z), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", PEER)
@pytest.mark.parametrize("kind", BANDS)
def test_triplet_bands(batch, kind, name):
    z, labels = batch
    miner = peer_miners.TripletMarginMiner(MARGIN, kind, distance=PEER[name]())
    wanted = peer_losses.TripletMarginLoss(MARGIN, distance=PEER[name]())(z, labels, miner(z, labels))
    comparison = compare(z, labels.tolist(), name)
    output = TripletLoss(MARGIN, "mean_active")(comparison, BANDS[kind](comparison))
    if kind != "easy":
        assert int(output.active) == miner.num_triplets
        same(output.value, wanted, z)
    else:
        assert output.value.item() == wanted.item() == 0


@pytest.mark.parametrize("name", PEER)
def test_triplet_without_miner(batch, name):
    z, labels = batch
    wanted = peer_losses.TripletMarginLoss(MARGIN, distance=PEER[name]())(z, labels)
    comparison = compare(z, labels.tolist(), name)
    same(TripletLoss(MARGIN, "mean_active")(comparison, AllMiner()(comparison)).value, wanted, z)


@pytest.mark.parametrize("name", PEER)
@pytest.mark.parametrize("mined", [False, True])
def test_contrastive(batch, mined, name):
    z, labels = batch
    miner = peer_miners.PairMarginMiner(0.9, 1.1, distance=PEER[name]())
    chosen = miner(z, labels) if mined else None
    wanted = peer_losses.ContrastiveLoss(0.3, 1.2, distance=PEER[name]())(z, labels, chosen)
    comparison = compare(z, labels.tolist(), name)
    selection = (PairMarginMiner(0.9, 1.1) if mined else AllMiner())(comparison)
    loss = ContrastiveLoss(1.2, 0.3, squared=False, reduction="mean_active")
    same(loss(comparison, selection).value, wanted, z)


def test_pair_margin(batch):
    z, labels = batch
    a, p, b, n = peer_miners.PairMarginMiner(0.9, 1.1, distance=PEER["euclidean"]())(z, labels)
    comparison = compare(z, labels.tolist())
    found = as_pairs(PairMarginMiner(0.9, 1.1)(comparison), comparison)
    assert listed(found.positive) == sorted(zip(a.tolist(), p.tolist(), strict=True))
    assert listed(found.negative) == sorted(zip(b.tolist(), n.tolist(), strict=True))


HARD_AND_EASY = {
    "batch_hard": (BatchHardMiner(), "BatchHardMiner", {}),
    "easy positive, hard negative": (
        BatchEasyPositiveMiner("hard"),
        "BatchEasyHardMiner",
        {"pos_strategy": "easy", "neg_strategy": "hard"},
    ),
    "easy positive, semi-hard negative": (
        BatchEasyPositiveMiner("semihard"),
        "BatchEasyHardMiner",
        {"pos_strategy": "easy", "neg_strategy": "semihard"},
    ),
}


@pytest.mark.parametrize(("own", "peer", "options"), HARD_AND_EASY.values(), ids=HARD_AND_EASY)
def test_extremes(batch, own, peer, options):
    z, labels = batch
    wanted = getattr(peer_miners, peer)(distance=PEER["euclidean"](), **options)(z, labels)
    if len(wanted) == 4:  # pairs: the anchors of both halves are the same
        wanted = (wanted[0], wanted[1], wanted[3])
    found = own(compare(z, labels.tolist()))
    columns = (found.anchor, found.positive, found.negative)
    mine = sorted(zip(*(column[found.valid].tolist() for column in columns), strict=True))
    assert mine == sorted(zip(*(column.tolist() for column in wanted), strict=True))
