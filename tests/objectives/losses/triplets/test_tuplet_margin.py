import math

import torch
from combinations import every
from pytorch_metric_learning import losses as peers
from row_oracles import (
    DTYPES,
    LABELLED,
    LAYOUTS,
    Account,
    equal_to_peer,
    fast,
    hold,
    mean,
    runs_compiled_and_in_bfloat16,
    some_pairs,
)

from metriscope.objectives.losses.triplets.tuplet_margin import TupletMarginLoss
from metriscope.objectives.selection import TripletBand

MARGIN, SCALE = 5.73, 16.0


def oracle(batch):
    terms = []
    for a in batch.full_anchors:
        for p in batch.positive[a]:
            near = torch.cos(torch.acos(batch.similarity(a, p)) - math.radians(MARGIN))
            terms.append((1 + sum(torch.exp(SCALE * (batch.similarity(a, n) - near)) for n in batch.negative[a])).log())
    return Account(mean(terms), len(terms), len(terms))


@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_every_positive_pair_in_turn(labels, dtype, memory):
    hold(TupletMarginLoss(MARGIN, SCALE), oracle, labels, "cosine", dtype, memory)


def test_of_mined_pairs():
    pairs = some_pairs()
    hold(TupletMarginLoss(MARGIN, SCALE), oracle, LABELLED, "cosine", torch.float64, pairs=pairs)


def test_coinciding_positives_have_a_gradient():
    z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8], [0.6, 0.8]]).requires_grad_()
    loss = TupletMarginLoss()(fast(z, [0, 0, 1, 1], "cosine"), TripletBand()).value
    loss.backward()
    assert loss.isfinite()
    assert z.grad.isfinite().all()


def test_compiled_and_bfloat16():
    runs_compiled_and_in_bfloat16(TupletMarginLoss(), "cosine")


def test_equal_to_pytorch_metric_learning():
    equal_to_peer(TupletMarginLoss(), peers.TupletMarginLoss(), "cosine")
