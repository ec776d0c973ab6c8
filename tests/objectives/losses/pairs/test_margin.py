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
    gradients,
    hold,
    runs_compiled_and_in_bfloat16,
    slow,
    some_pairs,
)

from metriscope.objectives.losses.pairs.margin import MarginLoss
from metriscope.objectives.selection import TripletBand, Triplets

MARGIN, BETA, NU = 0.2, 1.0, 0.1


def make(**keys):
    return MarginLoss(num_classes=10, embedding_size=4, margin=MARGIN, beta=BETA, **keys)


def hinges(batch, betas, count):
    """Those of positives, those of negatives: lists with repetition where pairs count by triplet."""
    pulled, pushed = [], []
    for a, label in enumerate(batch.labels):
        beta, d = betas[label if len(betas) > 1 else 0], batch.distances[a]
        times = (len(batch.negative[a]), len(batch.positive[a])) if count == "triplets" else (1, 1)
        pulled += [(d[p] - beta + MARGIN).clamp_min(0) for p in batch.positive[a]] * times[0]
        pushed += [(beta - d[n] + MARGIN).clamp_min(0) for n in batch.negative[a]] * times[1]
    return pulled + pushed


def oracle(betas, count="pairs", reduction="mean", nu=0.0):
    def account(batch):
        terms = hinges(batch, betas, count)
        active = [h for h in terms if h > 0]
        divisor = {"sum": 1, "mean": len(terms), "mean_active": len(active)}[reduction]
        value = sum(active, batch.z.sum() * 0) / max(1, divisor)
        if nu and terms:
            value = value + nu * torch.stack([betas[label if len(betas) > 1 else 0] for label in batch.labels]).mean()
        return Account(value, len(active), len(terms))

    return account


@pytest.mark.parametrize("count", ["pairs", "triplets"])
@every(labels=LAYOUTS, dtype=DTYPES, memory=(False, True))
def test_every_pair_in_turn(labels, count, dtype, memory):
    hold(make(count=count), oracle(torch.full((10,), BETA).double(), count), labels, "euclidean", dtype, memory)


@pytest.mark.parametrize("reduction", ["mean", "sum", "mean_active"])
@pytest.mark.parametrize("count", ["pairs", "triplets"])
@pytest.mark.parametrize("per_class", [True, False])
def test_gradient_of_the_boundaries(per_class, count, reduction):
    loss = make(beta_per_class=per_class, count=count, reduction=reduction, nu=NU).double()
    with torch.no_grad():
        loss.beta += torch.linspace(-0.2, 0.2, len(loss.beta))
    betas = loss.beta.detach().clone().requires_grad_()
    z = embeddings(LABELLED)
    pairs = some_pairs()
    batch = slow(z, LABELLED, "euclidean", pairs=pairs)
    wanted = oracle(betas, count, reduction, NU)(batch)
    found = loss(fast(z, LABELLED, "euclidean"), pairs)
    torch.testing.assert_close(found.value, wanted.value)
    assert (int(found.active), int(found.terms)) == (wanted.active, wanted.terms)
    for mine, theirs in zip(
        gradients(found.value, [z, loss.beta]), gradients(wanted.value, [batch.z, betas]), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_a_list_of_triplets_counts_both_pairs_of_each():
    loss = make(learn_beta=False)
    assert not list(loss.parameters())
    z = embeddings(LABELLED)
    chosen = [(0, 1, 2), (0, 1, 4), (2, 3, 9), (5, 6, 0)]
    columns = [torch.tensor(column) for column in zip(*chosen, strict=True)]
    valid = torch.tensor([True, True, False, True])
    output = loss(fast(z, LABELLED, "euclidean"), Triplets(*columns, valid))
    d = slow(z, LABELLED, "euclidean").distances
    terms = []
    for (a, p, n), kept in zip(chosen, valid, strict=True):
        if kept:
            terms += [(d[a][p] - BETA + MARGIN).clamp_min(0), (BETA - d[a][n] + MARGIN).clamp_min(0)]
    assert int(output.terms) == 6
    assert int(output.active) == sum(float(t) > 0 for t in terms)
    torch.testing.assert_close(output.value, sum(terms) / 6)


def test_unknown_classes_get_the_mean_boundary():
    loss = MarginLoss(num_classes=2, embedding_size=4)
    with torch.no_grad():
        loss.beta.copy_(torch.tensor([1.0, 2.0]))
    assert loss.boundaries(torch.tensor([0, 1, 2, 7])).tolist() == [1.0, 2.0, 1.5, 1.5]
    assert loss(fast(embeddings(LABELLED), LABELLED, "euclidean"), TripletBand()).value.isfinite()


def test_compiled_and_bfloat16():
    runs_compiled_and_in_bfloat16(make(nu=NU), "euclidean")


@pytest.mark.parametrize("per_class", [True, False])
def test_equal_to_pytorch_metric_learning(per_class):
    nu = 0.0 if per_class else NU
    peer = peers.MarginLoss(MARGIN, nu, BETA, learn_beta=True, num_classes=10 if per_class else None)
    loss = make(beta_per_class=per_class, count="triplets", reduction="mean_active", nu=nu)
    equal_to_peer(loss.double(), peer, "euclidean", 1e-7)
