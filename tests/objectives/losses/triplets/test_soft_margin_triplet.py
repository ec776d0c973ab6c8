"""Soft-margin triplets against triplets listed one by one."""

import pytest
import torch
import torch.nn.functional as F
from combinations import every
from loop_oracles import CASES, DTYPES, balanced, case, hold, hold_form, hold_library
from oracles import INF, Account, compare, gradient, some_pairs, total
from pytorch_metric_learning import losses

from metriscope.objectives import chunks
from metriscope.objectives.losses.triplets.soft_margin_triplet import SoftMarginTripletLoss
from metriscope.objectives.miners.batch_hard import BatchHardMiner
from metriscope.objectives.selection import TripletBand

MARGIN = 0.1
METRICS = {"metric": "euclidean", "matrix": "euclidean"}
BANDS = {"all": (-INF, INF), "violating": (-INF, 0.1), "semihard": (0.0, 0.3), "easy": (0.1, INF), "empty": (1, -1)}


def oracle(reduction="mean", low=-INF, high=INF):
    def account(rows):
        gaps = [d[n] - d[p] for d, positives, negatives in rows for p in positives for n in negatives]
        terms = [F.softplus(MARGIN - gap) for gap in gaps if low < gap < high]
        divisor = {"sum": 1, "mean": len(gaps), "mean_active": len(terms)}[reduction]
        return Account(total(terms) / max(1, divisor), len(terms), len(gaps))

    return account


@every(name=CASES, dtype=DTYPES)
def test_all_triplets(name, dtype):
    hold(SoftMarginTripletLoss(MARGIN), oracle(), name, dtype, **METRICS)


@pytest.mark.parametrize("reduction", ["mean", "sum", "mean_active"])
@pytest.mark.parametrize("band", BANDS.values(), ids=BANDS)
def test_bands(band, reduction):
    loss = SoftMarginTripletLoss(MARGIN, reduction)
    for name in ("few classes", "with a memory"):
        output = hold(loss, oracle(reduction, *band), name, torch.float64, selection=TripletBand(*band), **METRICS)
        assert set(output.parts) == ({"loss_mean"} if reduction != "mean" else set())


def test_selected_pairs():
    _, comparison = case("few classes", torch.float64, "euclidean")
    pairs = some_pairs(comparison)
    hold(SoftMarginTripletLoss(MARGIN), oracle(), "few classes", torch.float64, selection=pairs, **METRICS)


@every(name=CASES)
def test_a_list(name):
    z, comparison = case(name, torch.float64, "euclidean")
    listed = BatchHardMiner()(comparison)
    output = SoftMarginTripletLoss(MARGIN)(comparison, listed)
    d = comparison.distances
    terms = [
        F.softplus(MARGIN + d[a, p] - d[a, n])
        for a, p, n, valid in torch.stack([listed.anchor, listed.positive, listed.negative, listed.valid]).T.tolist()
        if valid
    ]
    wanted = total(terms) / max(1, len(terms))
    assert int(output.active) == int(output.terms) == len(terms)
    torch.testing.assert_close(output.value, wanted)
    found = torch.autograd.grad(output.value, z, retain_graph=True)[0]
    torch.testing.assert_close(found, gradient(wanted, z))


@pytest.mark.parametrize("elements", [1, 30, 200])
def test_chunks_of_positives_and_anchors_add_up(monkeypatch, elements):
    monkeypatch.setattr(chunks, "_CHUNK_ELEMENTS_CPU", elements)
    hold(SoftMarginTripletLoss(MARGIN), oracle(), "few classes", torch.float64, **METRICS)
    hold(
        SoftMarginTripletLoss(MARGIN),
        oracle("mean", 0.0, 0.3),
        "few classes",
        torch.float64,
        selection=TripletBand(0.0, 0.3),
        **METRICS,
    )


def test_form():
    hold_form(SoftMarginTripletLoss(), "euclidean")


def test_large_distances_stay_finite():
    z, labels = balanced(3, 3, torch.float32)
    far = (z.detach() * 1e6).requires_grad_()
    value = SoftMarginTripletLoss()(compare(far, labels.tolist(), "squared_euclidean"), TripletBand()).value
    assert value.isfinite()
    assert gradient(value, far).isfinite().all()


def test_equals_the_library():
    z, labels = balanced(4, 3)
    library = losses.TripletMarginLoss(margin=MARGIN, smooth_loss=True)
    hold_library(SoftMarginTripletLoss(MARGIN), library, z, labels, "euclidean")
