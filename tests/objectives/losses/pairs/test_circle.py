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

from metriscope.objectives.losses.pairs.circle import CircleLoss

M, GAMMA = 0.4, 20.0


def oracle(batch):
    terms = []
    for a in batch.full_anchors:
        push = pull = 0
        for n in batch.negative[a]:
            s = batch.similarity(a, n)
            push = push + torch.exp(GAMMA * (s.detach() + M).clamp_min(0) * (s - M))
        for p in batch.positive[a]:
            s = batch.similarity(a, p)
            pull = pull + torch.exp(-GAMMA * (1 + M - s.detach()).clamp_min(0) * (s - 1 + M))
        terms.append((1 + push * pull).log())
    return Account(mean(terms), len(terms), len(terms))


@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_every_anchor_in_turn(labels, dtype, memory):
    hold(CircleLoss(M, GAMMA), oracle, labels, "cosine", dtype, memory)


def test_of_mined_pairs():
    hold(CircleLoss(M, GAMMA), oracle, LABELLED, "cosine", torch.float64, pairs=some_pairs())


def test_compiled_and_bfloat16():
    runs_compiled_and_in_bfloat16(CircleLoss(), "cosine")


@pytest.mark.parametrize("gamma", [80, 256])
def test_equal_to_pytorch_metric_learning(gamma):
    equal_to_peer(CircleLoss(0.25, gamma), peers.CircleLoss(0.25, gamma), "cosine")
