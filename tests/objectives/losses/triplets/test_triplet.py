"""The triplet loss against loops over triples: value, gradient with respect to the embeddings, and counts."""

import pytest
import torch
from combinations import every
from oracles import (
    DISTANCES,
    INF,
    LAYOUTS,
    against,
    compare,
    distance_table,
    embeddings,
    gradient,
    listed,
    masks,
    measured,
    pairs,
    triplet_account,
    triplets_of,
)

from metriscope.objectives import comparison as comparisons
from metriscope.objectives.kernels import bands
from metriscope.objectives.losses.base import REDUCTIONS
from metriscope.objectives.losses.triplets.triplet import TripletLoss
from metriscope.objectives.selection import Pairs, TripletBand, Triplets

MARGIN = 0.3
BANDS = {"all": (-INF, INF), "violating": (-INF, MARGIN), "semihard": (0.0, MARGIN), "hard": (-INF, 0.0)}
BANDS |= {"easy": (MARGIN, INF), "inside": (-0.1, 0.2), "empty": (0.2, -0.2)}
distances = pytest.mark.parametrize("name", sorted(DISTANCES))


def hold(z, comparison, selection, account, reduction, tolerance=1e-9, margin=MARGIN, wanted_leaf=None):
    output = TripletLoss(margin, reduction)(comparison, selection)
    assert (int(output.active), int(output.terms)) == (account.active, account.terms)
    found, wanted = output.value.detach().double(), account.value.detach()
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)
    leaf = z if wanted_leaf is None else wanted_leaf
    torch.testing.assert_close(
        gradient(output.value, z), gradient(account.value, leaf), rtol=10 * tolerance, atol=10 * tolerance
    )
    assert output.value.requires_grad
    assert output.value.dtype == comparison.distances.dtype
    return output


@pytest.mark.parametrize("band", BANDS.values(), ids=BANDS)
@every(labels=LAYOUTS, reduction=REDUCTIONS)
def test_bands(labels, band, reduction):
    z, d = measured(labels)
    account = triplet_account(d, triplets_of(*pairs(labels)), MARGIN, reduction, *band)
    hold(z, compare(z, labels), TripletBand(*band), account, reduction)


@distances
@every(labels=LAYOUTS)
def test_distances(labels, name):
    z, d = measured(labels, name)
    account = triplet_account(d, triplets_of(*pairs(labels)), MARGIN, "mean", 0.0, MARGIN)
    hold(z, compare(z, labels, name), TripletBand(0.0, MARGIN), account, "mean")


@distances
@every(dtype=(torch.float32, torch.bfloat16))
def test_narrow_floats_are_computed_in_float32(name, dtype):
    labels = LAYOUTS["few classes"]
    z = embeddings(labels, dtype)
    wide = z.detach().double().requires_grad_()
    account = triplet_account(distance_table(name, wide), triplets_of(*pairs(labels)), MARGIN, "mean")
    comparison = compare(z, labels, name)
    assert comparison.distances.dtype == torch.float32
    output = TripletLoss(MARGIN)(comparison, TripletBand())
    assert (int(output.active), int(output.terms)) == (account.active, account.terms)
    assert output.value.item() == pytest.approx(account.value.item(), rel=1e-5)
    tolerance = 1e-5 if dtype == torch.float32 else 0.01
    torch.testing.assert_close(gradient(output.value, z), gradient(account.value, wide), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("few", [-1, 10**9], ids=["binary search", "each positive in turn"])
@every(chunk=(1, 2, 1 << 18), reduction=REDUCTIONS)
def test_both_ways_to_count_and_chunks(monkeypatch, reduction, few, chunk):
    monkeypatch.setattr(bands, "_FEW_POSITIVES", few)
    monkeypatch.setattr(comparisons, "block_rows", lambda *arguments: chunk)
    labels = LAYOUTS["uneven, with a singleton"]
    z, d = measured(labels)
    account = triplet_account(d, triplets_of(*pairs(labels)), MARGIN, reduction, -0.1, 0.2)
    hold(z, compare(z, labels), TripletBand(-0.1, 0.2), account, reduction)


@pytest.mark.parametrize("band", [None, (-0.1, 0.25)], ids=["pairs", "band over pairs"])
@every(labels=LAYOUTS, reduction=REDUCTIONS)
def test_masked_pairs_stand_for_their_triplets(labels, band, reduction):
    z, d = measured(labels)
    positive, negative = (chosen[::2] for chosen in pairs(labels))
    selected = Pairs(masks(positive, len(labels)), masks(negative, len(labels)))
    selection = selected if band is None else TripletBand(*band, pairs=selected)
    account = triplet_account(d, triplets_of(positive, negative), MARGIN, reduction, *(band or (-INF, INF)))
    hold(z, compare(z, labels), selection, account, reduction)


@distances
@every(labels=LAYOUTS, reduction=REDUCTIONS)
def test_lists(labels, name, reduction):
    """Every third triplet, some of them twice, among entries that stand for none."""
    z, d = measured(labels, name)
    chosen = triplets_of(*pairs(labels))[::3]
    chosen += chosen[::4]
    entries = [(*t, True) for t in chosen] + [(0, 0, len(labels) - 1, False)] * 2
    columns = list(zip(*entries, strict=True))
    selection = Triplets(*(torch.tensor(column) for column in columns))
    account = triplet_account(d, chosen, MARGIN, reduction)
    hold(z, compare(z, labels, name), selection, account, reduction)


def test_an_empty_list_is_worth_nothing():
    z = embeddings([0, 0, 1])
    nothing = torch.zeros(0, dtype=torch.int64)
    for reduction in REDUCTIONS:
        output = TripletLoss(MARGIN, reduction)(
            compare(z, [0, 0, 1]), Triplets(nothing, nothing, nothing, nothing.bool())
        )
        assert output.value.item() == 0
        assert torch.equal(gradient(output.value, z), torch.zeros_like(z))


@distances
@pytest.mark.parametrize("selection", [TripletBand(), TripletBand(0.0, MARGIN), "list"], ids=str)
@every(dtype=(torch.float32, torch.float64), reduction=REDUCTIONS)
def test_duplicated_embeddings_keep_a_finite_gradient(dtype, name, reduction, selection):
    labels = [0, 0, 1, 1, 0, 1]
    z = embeddings(labels, dtype).detach()
    z[1], z[3], z[5] = z[0], z[0], z[4]  # of the same class, and of another
    z.requires_grad_()
    if selection == "list":
        columns = zip(*triplets_of(*pairs(labels)), strict=True)
        a, p, n = (torch.tensor(column) for column in columns)
        selection = Triplets(a, p, n, torch.ones(len(a), dtype=torch.bool))
    output = TripletLoss(MARGIN, reduction)(compare(z, labels, name), selection)
    assert output.value.isfinite()
    assert gradient(output.value, z).isfinite().all()


@every(reduction=REDUCTIONS)
def test_all_embeddings_in_one_point(reduction):
    labels = LAYOUTS["few classes"]
    z = torch.full((len(labels), 4), 0.5, dtype=torch.float64, requires_grad=True)
    output = TripletLoss(MARGIN, reduction)(compare(z, labels), TripletBand())
    terms = len(triplets_of(*pairs(labels)))
    assert (int(output.active), int(output.terms)) == (terms, terms)
    assert output.value.item() == pytest.approx(MARGIN * (terms if reduction == "sum" else 1))
    assert torch.equal(gradient(output.value, z), torch.zeros_like(z))


@every(labels=LAYOUTS)
def test_the_mean_comes_along_where_the_loss_is_reduced_otherwise(labels):
    z = embeddings(labels)
    comparison = compare(z, labels)
    chosen = TripletBand(-INF, MARGIN)
    assert TripletLoss(MARGIN, "mean")(comparison, chosen).parts == {}
    wanted = TripletLoss(MARGIN, "mean")(comparison, chosen).value.item()
    for reduction in ("sum", "mean_active"):
        parts = TripletLoss(MARGIN, reduction)(comparison, chosen).parts
        assert list(parts) == ["loss_mean"]
        assert parts["loss_mean"].item() == pytest.approx(wanted, rel=1e-9)
        assert not parts["loss_mean"].requires_grad


def test_nan_in_nan_out():
    """A guard looks at the value: no path may turn NaN into a number."""
    labels = [0, 0, 1, 1]
    for entry in ("nan", "inf"):
        z = embeddings(labels).detach()
        z[0, 0] = float(entry)
        comparison = compare(z.requires_grad_(), labels)
        a, p, n = torch.tensor(triplets_of(*pairs(labels))).T
        for selection in (TripletBand(), Triplets(a, p, n, torch.ones(len(a), dtype=torch.bool))):
            assert not TripletLoss(MARGIN)(comparison, selection).value.isfinite()


def test_a_margin_of_zero_counts_no_touching_triplet():
    z = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    output = TripletLoss(0.0)(compare(z, [0, 0, 1, 1]), TripletBand())
    assert (output.value.item(), int(output.active), int(output.terms)) == (0, 0, 8)


def test_more_references_than_anchors():
    z, labels = embeddings([0, 0, 1, 1, 0, 1, 1]), [0, 0, 1, 1, 0, 1, 1]
    rows = against(z[:3], labels[:3], z, labels, "euclidean")
    triplets = triplets_of(listed(rows.positive), listed(rows.negative))
    account = triplet_account(distance_table("euclidean", z), triplets, MARGIN, "mean")
    hold(z, rows, TripletBand(), account, "mean")
