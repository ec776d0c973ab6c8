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

from metriscope.objectives.losses.pairs.multi_similarity import MultiSimilarityLoss

ALPHA, BETA, BASE = 2.0, 50.0, 0.5


def oracle(batch):
    terms = []
    for a in batch.full_anchors:
        pull = sum(torch.exp(-ALPHA * (batch.similarity(a, p) - BASE)) for p in batch.positive[a])
        push = sum(torch.exp(BETA * (batch.similarity(a, n) - BASE)) for n in batch.negative[a])
        terms.append((1 + pull).log() / ALPHA + (1 + push).log() / BETA)
    return Account(mean(terms), len(terms), len(terms))


@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_every_anchor_in_turn(labels, dtype, memory):
    hold(MultiSimilarityLoss(ALPHA, BETA, BASE), oracle, labels, "cosine", dtype, memory)


def test_of_mined_pairs():
    hold(
        MultiSimilarityLoss(base=BASE),
        oracle,
        LABELLED,
        "cosine",
        torch.float64,
        pairs=some_pairs(),
    )


def test_compiled_and_bfloat16():
    runs_compiled_and_in_bfloat16(MultiSimilarityLoss(), "cosine")


def test_equal_to_pytorch_metric_learning():
    equal_to_peer(MultiSimilarityLoss(base=BASE), peers.MultiSimilarityLoss(), "cosine")
