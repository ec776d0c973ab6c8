"""Mixtures of positives and negatives: worked values, which ones there are, and what is drawn."""

import pytest
import torch
from six_points import LABELS, compared, hold

from metriscope.losses import ContrastiveLoss, MultiSimilarityLoss, RowLoss
from metriscope.mixtures import PositiveNegativeMixture
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.samples import Moment, Samples
from metriscope.objectives.selection import Pairs, TripletBand


class Fixed(PositiveNegativeMixture):
    """The share of the positive is 0.3 everywhere."""

    def shares(self, shape, comparison):
        return torch.full(shape, 0.3, dtype=torch.float64)


class Sums(RowLoss):
    """The paper's contrastive loss of similarities: sum_p -s + sum_n [s - 0.5]_+ of each anchor."""

    def formula(self, rows):
        pushes = (rows.values - 0.5).clamp_min(0) * rows.negative
        return (pushes - rows.values * rows.positive).sum(1, keepdim=True)


def judged(loss, distance, part=None):
    t, comparison = compared(distance)
    objective = Objective(distance, AllMiner(), loss, mixture=Fixed() if part is None else part)
    return t, objective.judge(comparison, TripletBand()).output


@pytest.mark.parametrize(
    ("loss", "distance", "value", "slopes"),
    [
        (
            ContrastiveLoss(0.5, squared=False, reduction="mean_active"), Euclidean(), 1.364295729886,
            [-0.3031632153, 1.2748333590, -1.3018433094, 0.3695087324, -0.3111071500, 0.2717715834],
        ),
        (
            Sums(), Cosine(), -0.118499855922,
            [-0.0035385559, 0.4504153919, -0.5879862865, 0.1636771270, -0.4640381812, 0.4414705048],
        ),
        (
            MultiSimilarityLoss(2, 10, 0.5), Cosine(), 1.146694750807,
            [0.0468262432, 0.1195474600, -0.3448394743, 0.2319493702, -0.3770198231, 0.3235362240],
        ),
    ],
)  # fmt: skip
def test_worked_values(loss, distance, value, slopes):
    t, output = judged(loss, distance)
    hold(output.value, t, value, slopes)


def test_both_parts_of_the_value():
    for loss, distance, clean, mixed in (
        (ContrastiveLoss(0.5, squared=False, reduction="mean_active"), Euclidean(), 1.154773046581, 0.523806708263),
        (MultiSimilarityLoss(2, 10, 0.5), Cosine(), 0.625797946063, (1.146694750807 - 0.625797946063) / 0.4),
    ):
        _, output = judged(loss, distance)
        _, plain = judged(loss, distance, Fixed(weight=0.0))
        assert plain.value.item() == pytest.approx(clean, abs=2e-12)
        assert output.parts["loss_mixed"].item() == pytest.approx(mixed, abs=1e-11)
        assert output.terms == plain.terms


def test_all_positives_with_all_negatives():
    _, comparison = compared(Cosine())
    pairs = Pairs(comparison.positive, comparison.negative)
    mixtures = Fixed().mix(comparison, pairs)
    for a, label in enumerate(LABELS):
        ends = zip(mixtures.first[a].tolist(), mixtures.second[a].tolist(), mixtures.valid[a].tolist(), strict=True)
        found = {(p, n) for p, n, valid in ends if valid}
        positives = [j for j in range(6) if LABELS[j] == label and j != a]
        assert found == {(p, n) for p in positives for n in range(6) if LABELS[n] != label}
    seen = mixtures.values(comparison, of_distances=False)
    column = (mixtures.valid[0] & (mixtures.first[0] == 1) & (mixtures.second[0] == 2)).nonzero().item()
    torch.testing.assert_close(seen[0, column].item(), 0.798590609568, rtol=0, atol=2e-12)


def test_as_many_as_may_be_are_drawn():
    z = torch.nn.functional.normalize(torch.randn(9, 3, generator=torch.Generator().manual_seed(0)))
    samples = Samples.of(z, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2]))
    objective = Objective(Cosine(), AllMiner(), ContrastiveLoss())
    comparison = objective.compare(samples, Moment(generator=torch.Generator().manual_seed(1)))
    pairs = Pairs(comparison.positive, comparison.negative)
    mixtures = PositiveNegativeMixture(most=20).mix(comparison, pairs)
    assert mixtures.valid.shape == (9, 20)
    assert mixtures.valid.all(1).tolist() == [True] * 8 + [False]
    for a in range(8):
        assert pairs.positive[a, mixtures.first[a]].all()
        assert pairs.negative[a, mixtures.second[a]].all()
        assert mixtures.first[a].unique().numel() == 3


def test_shares():
    _, comparison = compared(Cosine())
    comparison.moment = Moment(generator=torch.Generator().manual_seed(1))
    shape = torch.Size((60, 400))
    each = PositiveNegativeMixture().shares(shape, comparison)
    assert each.mean().item() == pytest.approx(0.5, abs=0.01)
    assert each.std().item() == pytest.approx(0.05**0.5, abs=0.01)
    assert PositiveNegativeMixture(shared=True).shares(shape, comparison).unique().numel() == 1
