"""Two stages by epoch, and interpolated negatives in the second."""

import math

import pytest
import torch
from miner_cases import all_cases, blended, case, rows
from oracles import DISTANCES, LAYOUTS, against, distance
from six_points import compared, hold

from metriscope.errors import InputError
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.losses.pairs.contrastive import ContrastiveLoss
from metriscope.objectives.losses.triplets.triplet import TripletLoss
from metriscope.objectives.miners.curriculum import CurriculumMiner
from metriscope.objectives.mixed import Mixtures
from metriscope.objectives.samples import Moment
from metriscope.objectives.selection import TripletBand

NAMES = sorted(DISTANCES)


@pytest.mark.parametrize(("share", "hard_from"), [(0.0, 0), (0.5, 4), (0.3, 3), (1.0, 7)])
def test_the_band_of_an_epoch(share, hard_from):
    miner = CurriculumMiner(margin=0.3, epochs=7, semihard_share=share)
    for epoch in range(7):
        wanted = TripletBand(-math.inf, 0.0) if epoch >= hard_from else TripletBand(0.0, 0.3)
        assert miner(case("few classes", epoch=epoch)) == wanted


def test_interpolation_begins_with_the_second_stage():
    miner = CurriculumMiner(epochs=4, interpolation=0.5)
    assert isinstance(miner(case("few classes", epoch=1)), TripletBand)
    assert isinstance(miner(case("few classes", epoch=2)), Mixtures)


@pytest.mark.parametrize("name", NAMES)
@all_cases
def test_hardest_of_the_augmented_space(layout, further, name):
    comparison, share = case(layout, further, name, epoch=1, seed=2, apart=2.5), 0.8
    z, batch = comparison.references.embeddings.detach(), len(comparison.anchors.labels)
    found = CurriculumMiner(epochs=1, semihard_share=0, interpolation=share)(comparison)
    distances = found.distances(comparison).detach()
    for a, d, positives, negatives in rows(comparison):
        own = [p for p in positives if p < batch]
        assert bool(found.valid[a, 0]) == bool(own and negatives)
        if not (own and negatives):
            continue
        p = max(own, key=lambda j: d[j])
        candidates = {(n, 0.0): d[n] for n in negatives}
        for n in negatives:
            candidates[n, share] = float(distance(name, z[a], blended(name, z, p, n, share, True)))
        chosen = int(found.second[a, 0]), float(found.share[a, 0])
        assert int(found.positive[a]) == int(found.first[a, 0]) == p
        assert candidates[chosen] == pytest.approx(min(candidates.values()), abs=1e-9)
        assert float(distances[a, 0]) == pytest.approx(candidates[chosen], abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_triplet_loss_pulls_and_pushes_through_all_three(name):
    comparison, share = case("few classes", name=name, epoch=1, seed=3, apart=2.5), 0.8
    selection = CurriculumMiner(epochs=1, semihard_share=0, interpolation=share)(comparison)
    assert selection.share.any()
    assert not selection.share.all()
    output = TripletLoss(1.5, "sum")(comparison, selection)
    z, hinges = comparison.anchors.embeddings, []
    columns = (selection.positive, selection.second.squeeze(1), selection.share.squeeze(1))
    for a, (p, n, moved) in enumerate(zip(*(x.tolist() for x in columns), strict=True)):
        # Not normalised again where it is left alone: z is a leaf on the sphere.
        negative = blended(name, z, p, n, moved, True) if moved else z[n]
        hinges.append((distance(name, z[a], z[p]) - distance(name, z[a], negative) + 1.5).clamp_min(0))
    wanted = torch.stack(hinges).sum()
    torch.testing.assert_close(output.value, wanted, rtol=1e-9, atol=1e-9)
    found_gradient, wanted_gradient = (torch.autograd.grad(x, z, retain_graph=True)[0] for x in (output.value, wanted))
    # Off the sphere the two differ; along it, where a normalising head can move, they do not.
    along = [g - (g * z).sum(1, keepdim=True) * z for g in (found_gradient, wanted_gradient)]
    torch.testing.assert_close(*along, rtol=1e-7, atol=1e-8)
    assert output.terms == len(comparison.anchors.labels)


@pytest.mark.parametrize("name", NAMES)
def test_collapsed_embeddings_give_finite_gradients(name):
    z = torch.ones(11, 4).requires_grad_()
    flat = against(z, LAYOUTS["few classes"], z, LAYOUTS["few classes"], name, epoch=1)
    output = TripletLoss()(flat, CurriculumMiner(epochs=1, semihard_share=0, interpolation=0.5)(flat))
    assert torch.autograd.grad(output.value, z)[0].isfinite().all()


def test_stages_compile():
    comparison = case("few classes", epoch=1)
    miner, loss = CurriculumMiner(epochs=1, semihard_share=0, interpolation=0.5), TripletLoss()
    judged = torch.compile(lambda c, s: loss(c, s).value, fullgraph=True, backend="eager")
    selection = miner(comparison)
    torch.testing.assert_close(judged(comparison, selection), loss(comparison, selection).value)


def test_what_cannot_take_interpolated_negatives_says_so():
    comparison = case("few classes", epoch=1)
    selection = CurriculumMiner(epochs=1, semihard_share=0, interpolation=0.5)(comparison)
    with pytest.raises(InputError, match="mixtures are no pairs"):
        ContrastiveLoss()(comparison, selection)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2])
def test_shares_outside_are_refused(share):
    with pytest.raises(InputError, match="above 0 and below 1"):
        CurriculumMiner(interpolation=share)


def six_points(epoch, **keys):
    """The loss of the second half of ten epochs begins with the fifth."""
    t, comparison = compared(Euclidean())
    comparison.moment = Moment(epoch)
    miner = CurriculumMiner(0.3, 10, 0.5, 0.4, **keys)
    return t, TripletLoss(0.3)(comparison, miner(comparison)).value


def test_worked_values():
    slopes = [0.0115811854, 0.0922378568, -0.5280847774, 0.4547359320, -0.1595867329, 0.1291165362]
    t, value = six_points(5)
    hold(value, t, 0.688180452059, slopes)
    # The first stage. In three triplets both distances are equal: they do not count, but rounding would decide.
    degrees = [0, 30, 40, 80.000001, 120, 200.000001]
    t, comparison = compared(Euclidean(), degrees)
    value = TripletLoss(0.3)(comparison, CurriculumMiner(0.3, 10)(comparison)).value
    assert value.item() == pytest.approx(0.018490134322, abs=1e-8)


def test_frozen_interpolations_push_the_anchor_alone():
    _, wanted = six_points(5)
    t, value = six_points(5, frozen=True)
    assert value.item() == pytest.approx(wanted.item(), abs=1e-12)
    z = torch.stack([t.cos(), t.sin()], 1)
    miner = CurriculumMiner(0.3, 10, 0.5, 0.4)
    _, comparison = compared(Euclidean())
    comparison.moment = Moment(5)
    chosen, terms = miner(comparison), []
    ends = (chosen.positive, chosen.second.squeeze(1), chosen.share.squeeze(1))
    for a, (p, n, share) in enumerate(zip(*(one.tolist() for one in ends), strict=True)):
        mixed = torch.nn.functional.normalize(share * z[p] + (1 - share) * z[n], dim=0)
        negative = mixed.detach() if share else z[n]
        terms.append(((z[a] - z[p]).norm() - (z[a] - negative).norm() + 0.3).clamp_min(0))
    (slopes,) = torch.autograd.grad(torch.stack(terms).mean(), t, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(value, t)[0], slopes, rtol=0, atol=1e-12)


def test_shares_that_make_false_negatives_are_told(caplog):
    CurriculumMiner(interpolation=0.5)
    assert not caplog.records
    CurriculumMiner(interpolation=0.6)
    assert "miner.interpolation=0.6: above 0.5 interpolations are closer to the positive" in caplog.text
    with pytest.raises(InputError, match="nothing is interpolated that could be constant"):
        CurriculumMiner(frozen=True)
