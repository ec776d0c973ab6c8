import pytest
import torch
from combinations import every
from oracles import embeddings
from pytorch_metric_learning import losses as peers
from row_oracles import (
    DTYPES,
    LABELLED,
    LAYOUTS,
    Account,
    equal_to_peer,
    fast,
    hold,
    runs_compiled_and_in_bfloat16,
    some_pairs,
)

from metriscope.objectives.losses.pairs.signal_to_noise import SignalToNoiseLoss
from metriscope.objectives.selection import TripletBand

MARGIN, WEIGHT = 3.0, 0.2


def oracle(batch):
    terms = []
    for a in range(len(batch.z)):
        signal = batch.z[a].var()
        terms += [(batch.references[p] - batch.z[a]).var() / signal for p in batch.positive[a]]
        terms += [(MARGIN - (batch.references[n] - batch.z[a]).var() / signal).clamp_min(0) for n in batch.negative[a]]
    value = sum(terms, batch.z.sum() * 0) / max(1, len(terms))
    value = value + WEIGHT * batch.z.sum(1).abs().mean()
    return Account(value, sum(float(t) > 0 for t in terms), len(terms))


@pytest.mark.parametrize("name", ["euclidean", "squared_euclidean"])
@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_every_pair_in_turn(labels, name, dtype, memory):
    hold(SignalToNoiseLoss(MARGIN, mean_weight=WEIGHT), oracle, labels, name, dtype, memory)


def test_of_mined_pairs():
    pairs = some_pairs()
    hold(SignalToNoiseLoss(MARGIN, mean_weight=WEIGHT), oracle, LABELLED, "euclidean", torch.float64, pairs=pairs)


def test_cosine_distances_tell_the_ratio_of_normalised_embeddings():
    z = embeddings(LABELLED)
    unit = torch.nn.functional.normalize(z, dim=1)
    loss = SignalToNoiseLoss(MARGIN)
    found, wanted = (
        loss(fast(z, LABELLED, "cosine"), TripletBand()),
        loss(fast(unit, LABELLED, "euclidean"), TripletBand()),
    )
    torch.testing.assert_close(found.value, wanted.value)
    torch.testing.assert_close(*(torch.autograd.grad(output.value, z)[0] for output in (found, wanted)))


def test_an_embedding_without_signal():
    z = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]], requires_grad=True)
    value = SignalToNoiseLoss()(fast(z, [0, 0, 1, 1], "squared_euclidean"), TripletBand()).value
    value.backward()
    assert value.isfinite()
    assert z.grad.isfinite().all()


def test_compiled_and_bfloat16():
    runs_compiled_and_in_bfloat16(SignalToNoiseLoss(mean_weight=WEIGHT), "squared_euclidean")


@pytest.mark.parametrize("name", ["euclidean", "squared_euclidean", "cosine"])
def test_equal_to_pytorch_metric_learning(name):
    peer = peers.SignalToNoiseRatioContrastiveLoss()
    equal_to_peer(SignalToNoiseLoss(reduction="mean_active"), peer, name)
