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

from metriscope.objectives.losses.pairs.lifted_structure import LiftedStructureLoss

FORMS = ("generalised", "original")
MARGIN, GRANTED = 0.7, 1.4


def generalised(batch):
    terms = []
    for a in batch.full_anchors:
        pull = sum(torch.exp(batch.distances[a][p] - GRANTED) for p in batch.positive[a])
        push = sum(torch.exp(MARGIN - batch.distances[a][n]) for n in batch.negative[a])
        terms.append((pull.log() + push.log()).clamp_min(0))
    return terms


def original(batch):
    terms = []
    for i in range(len(batch.z)):
        for j in (j for j in batch.positive[i] if j < len(batch.z)):
            others = [batch.distances[k][n] for k in (i, j) for n in batch.negative[k]]
            if others:
                push = sum(torch.exp(MARGIN - d) for d in others)
                terms.append((push.log() + batch.distances[i][j] - GRANTED).clamp_min(0) ** 2 / 2)
    return terms


def oracle(form, reduction):
    def account(batch):
        terms = {"generalised": generalised, "original": original}[form](batch)
        active = [t for t in terms if t > 0]
        value = mean(active if reduction == "mean_active" else terms)
        return Account(value * (len(terms) if reduction == "sum" else 1), len(active), len(terms))

    return account


@pytest.mark.parametrize("form", FORMS)
@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_every_term_in_turn(labels, form, dtype, memory):
    hold(LiftedStructureLoss(MARGIN, GRANTED, form), oracle(form, "mean"), labels, "euclidean", dtype, memory)


@pytest.mark.parametrize("reduction", ["sum", "mean_active"])
@pytest.mark.parametrize("form", FORMS)
def test_reductions_of_mined_pairs(form, reduction):
    loss = LiftedStructureLoss(MARGIN, 2.0, form, reduction)
    loss.positive_margin = GRANTED
    pairs = some_pairs()
    hold(loss, oracle(form, reduction), LABELLED, "euclidean", torch.float64, pairs=pairs)


def test_some_terms_are_inactive():
    from oracles import embeddings
    from row_oracles import slow

    for form in FORMS:
        found = oracle(form, "mean")(slow(embeddings(LABELLED) * 1.0, LABELLED, "euclidean"))
        assert 0 < found.active <= found.terms


@pytest.mark.parametrize("form", FORMS)
def test_compiled_and_bfloat16(form):
    runs_compiled_and_in_bfloat16(LiftedStructureLoss(form=form), "euclidean")


@pytest.mark.parametrize("form", FORMS)
def test_equal_to_pytorch_metric_learning(form):
    peer = {"generalised": peers.GeneralizedLiftedStructureLoss, "original": peers.LiftedStructureLoss}[form]
    equal_to_peer(LiftedStructureLoss(form=form), peer(), "euclidean")
