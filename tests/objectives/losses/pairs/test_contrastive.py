"""The contrastive loss against loops over pairs: value, gradient with respect to the embeddings, and counts."""

import pytest
import torch
from combinations import every
from oracles import (
    DISTANCES,
    LAYOUTS,
    compare,
    contrastive_account,
    distance_table,
    embeddings,
    gradient,
    masks,
    measured,
    pairs,
)

from metriscope.errors import InputError
from metriscope.objectives.losses.base import REDUCTIONS
from metriscope.objectives.losses.pairs.contrastive import ContrastiveLoss
from metriscope.objectives.selection import Pairs, TripletBand, Triplets

distances = pytest.mark.parametrize("name", sorted(DISTANCES))
forms = pytest.mark.parametrize(("squared", "positive_margin"), [(True, 0.0), (False, 0.0), (True, 0.4), (False, 0.4)])


def hold(labels, selection, positive, negative, name, squared, positive_margin, reduction):
    z, d = measured(labels, name)
    loss = ContrastiveLoss(0.8, positive_margin, squared, reduction)
    output = loss(compare(z, labels, name), selection)
    account = contrastive_account(d, positive, negative, 0.8, positive_margin, squared, reduction)
    assert (int(output.active), int(output.terms)) == (account.active, account.terms)
    torch.testing.assert_close(output.value.double(), account.value, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradient(output.value, z), gradient(account.value, z), rtol=1e-6, atol=1e-6)
    assert output.value.requires_grad
    return output


@forms
@every(labels=LAYOUTS, reduction=REDUCTIONS)
def test_all_pairs(labels, reduction, squared, positive_margin):
    hold(labels, TripletBand(), *pairs(labels), "euclidean", squared, positive_margin, reduction)


@distances
@every(labels=LAYOUTS)
def test_distances(labels, name):
    hold(labels, TripletBand(), *pairs(labels), name, True, 0.0, "mean")


@pytest.mark.parametrize("banded", [False, True])
@every(labels=LAYOUTS, reduction=REDUCTIONS)
def test_masked_pairs(labels, banded, reduction):
    positive, negative = (chosen[::2] for chosen in pairs(labels))
    selection = Pairs(masks(positive, len(labels)), masks(negative, len(labels)))
    selection = TripletBand(pairs=selection) if banded else selection
    hold(labels, selection, positive, negative, "euclidean", True, 0.1, reduction)


@every(labels=LAYOUTS, reduction=REDUCTIONS)
def test_a_list_of_triplets_stands_for_its_pairs(labels, reduction):
    """Each pair once, however many triplets it is part of; invalid entries bring none."""
    positive, negative = pairs(labels)
    chosen = [(a, p, n) for a, p in positive for b, n in negative if a == b][::3]
    entries = [(*t, True) for t in [*chosen, *chosen[:2]]] + [(0, 0, len(labels) - 1, False)]
    selection = Triplets(*(torch.tensor(column) for column in zip(*entries, strict=True)))
    pulled, pushed = sorted({(a, p) for a, p, _ in chosen}), sorted({(a, n) for a, _, n in chosen})
    hold(labels, selection, pulled, pushed, "euclidean", False, 0.0, reduction)


def test_a_bounded_band_names_no_pairs():
    z = embeddings([0, 0, 1])
    with pytest.raises(InputError, match="miner=all"):
        ContrastiveLoss()(compare(z, [0, 0, 1]), TripletBand(0.0, 0.2))


@distances
@every(dtype=(torch.float32, torch.bfloat16))
def test_narrow_floats_are_computed_in_float32(name, dtype):
    labels = LAYOUTS["few classes"]
    z = embeddings(labels, dtype)
    wide = z.detach().double().requires_grad_()
    account = contrastive_account(distance_table(name, wide), *pairs(labels), 0.8, 0.0, True, "mean")
    output = ContrastiveLoss(0.8)(compare(z, labels, name), TripletBand())
    assert output.value.dtype == torch.float32
    assert (int(output.active), int(output.terms)) == (account.active, account.terms)
    assert output.value.item() == pytest.approx(account.value.item(), rel=1e-5)
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(gradient(output.value, z), gradient(account.value, wide), rtol=tolerance, atol=tolerance)


@distances
@pytest.mark.parametrize("squared", [True, False])
@every(dtype=(torch.float32, torch.float64), reduction=REDUCTIONS)
def test_duplicated_embeddings_keep_a_finite_gradient(dtype, squared, reduction, name):
    labels = [0, 0, 1, 1, 0, 1]
    z = embeddings(labels, dtype).detach()
    z[1], z[3], z[5] = z[0], z[0], z[4]
    output = ContrastiveLoss(0.8, 0.0, squared, reduction)(compare(z.requires_grad_(), labels, name), TripletBand())
    assert output.value.isfinite()
    assert gradient(output.value, z).isfinite().all()


def test_all_embeddings_in_one_point():
    labels = [0, 0, 1]
    z = torch.full((3, 2), 0.5, dtype=torch.float64, requires_grad=True)
    output = ContrastiveLoss(1.0)(compare(z, labels), TripletBand())
    assert (int(output.active), int(output.terms)) == (4, 6)  # the negatives; positives at 0 cost nothing
    assert output.value.item() == pytest.approx(4 / 6)
    assert torch.equal(gradient(output.value, z), torch.zeros_like(z))


@every(labels=LAYOUTS)
def test_active_ratios_of_positives_and_negatives(labels):
    z, d = measured(labels)
    parts = ContrastiveLoss(0.8, 0.4)(compare(z, labels), TripletBand()).parts
    positive, negative = pairs(labels)
    pulled = sum(bool(d[i][j] > 0.4) for i, j in positive) / max(1, len(positive))
    pushed = sum(bool(d[i][j] < 0.8) for i, j in negative) / max(1, len(negative))
    assert parts["active_ratio_positive"].item() == pytest.approx(pulled)
    assert parts["active_ratio_negative"].item() == pytest.approx(pushed)


@every(labels=LAYOUTS)
def test_the_mean_comes_along_where_the_loss_is_reduced_otherwise(labels):
    z = embeddings(labels)
    comparison = compare(z, labels)
    mean = ContrastiveLoss(0.8, 0.1, reduction="mean")(comparison, TripletBand())
    assert "loss_mean" not in mean.parts
    for reduction in ("sum", "mean_active"):
        parts = ContrastiveLoss(0.8, 0.1, reduction=reduction)(comparison, TripletBand()).parts
        assert parts["loss_mean"].item() == pytest.approx(mean.value.item(), rel=1e-9)
        assert not any(part.requires_grad for part in parts.values())


def test_nan_in_nan_out():
    labels = [0, 0, 1, 1]
    for entry in ("nan", "inf"):
        z = embeddings(labels).detach()
        z[0, 0] = float(entry)
        assert not ContrastiveLoss()(compare(z.requires_grad_(), labels), TripletBand()).value.isfinite()
