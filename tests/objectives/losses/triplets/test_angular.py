import math

import pytest
import torch
from combinations import every
from pytorch_metric_learning import losses as peers
from row_oracles import (
    DTYPES,
    LABELLED,
    LAYOUTS,
    Account,
    equal_to_peer,
    hold,
    mean,
    runs_compiled_and_in_bfloat16,
    some_pairs,
)

from metriscope.objectives.losses.triplets import angular
from metriscope.objectives.losses.triplets.angular import AngularLoss

ALPHA = 45.0


def oracle(batch, alpha=ALPHA):
    tangent = math.tan(math.radians(alpha)) ** 2
    unit = [r / r.norm() for r in batch.references]
    terms = []
    for a in batch.full_anchors:
        for p in (p for p in batch.positive[a] if p < len(batch.z)):
            own = 2 * (1 + tangent) * unit[a] @ unit[p]
            exponents = [4 * tangent * (unit[a] + unit[p]) @ unit[n] - own for n in batch.negative[a]]
            terms.append((1 + sum(x.exp() for x in exponents)).log())
    return Account(mean(terms), len(terms), len(terms))


@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_every_positive_pair_in_turn(labels, dtype, memory):
    hold(AngularLoss(ALPHA), oracle, labels, "cosine", dtype, memory)


@every(alpha=(10.0, 65.0), dtype=DTYPES)
def test_angles(alpha, dtype):
    hold(AngularLoss(alpha), lambda batch: oracle(batch, alpha), LABELLED, "cosine", dtype)


@every(labels=LAYOUTS)
def test_all_rows_as_one_group(labels, monkeypatch):
    monkeypatch.setattr(angular, "_groups", lambda labels: [torch.arange(len(labels)).unsqueeze(0)])
    hold(AngularLoss(ALPHA), oracle, labels, "cosine", torch.float64, memory=True)


@pytest.mark.parametrize("memory", [False, True])
def test_of_mined_pairs(memory):
    pairs = some_pairs(memory)
    hold(AngularLoss(ALPHA), oracle, LABELLED, "cosine", torch.float64, memory, pairs)


def test_compiled_and_bfloat16():
    runs_compiled_and_in_bfloat16(AngularLoss(), "cosine")


def test_equal_to_pytorch_metric_learning():
    equal_to_peer(AngularLoss(40), peers.AngularLoss(40), "cosine", 1e-6)  # its tan(alpha) is a float32
