"""Mixtures of hard negatives: worked values, what is drawn, and batches without enough to mix."""

import math
from dataclasses import replace

import pytest
import torch
from six_points import LABELS, compared, hold

from metriscope.errors import InputError
from metriscope.losses import InfoNCELoss
from metriscope.mixtures import HardNegativeMixture, Mixtures
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.samples import Moment, Samples
from metriscope.objectives.selection import Pairs

HARDEST = [[2, 3], [2, 3], [1, 0], [4, 1], [3, 2], [3, 2]]


def by_hand(frozen, towards=True):
    """A quarter of the hardest in the next one and, on request, 0.4 of the anchor in the hardest."""
    hardest = torch.tensor(HARDEST)
    own = torch.full((6, 1), -1)
    first, second = torch.cat([hardest[:, :1], own], 1), torch.cat([hardest[:, 1:], hardest[:, :1]], 1)
    share = torch.tensor([[0.25, 0.4]], dtype=torch.float64).expand(6, 2)
    some = slice(0, 2 if towards else 1)
    valid = torch.ones(6, 2, dtype=torch.bool)[:, some]
    return Mixtures(first[:, some], second[:, some], share[:, some], valid, negative_weights=valid, frozen=frozen)


def beside(comparison, mixtures):
    return Pairs(comparison.positive, comparison.negative, mixtures=mixtures)


@pytest.mark.parametrize("distance", [Cosine, Euclidean])
@pytest.mark.parametrize(
    ("frozen", "towards", "value", "slopes"),
    [
        (
            True, False, 1.323051438800,
            [-0.0039353544, 0.4426928341, -0.4562253701, 0.3365811583, -0.7446104981, 0.3554474622],
        ),
        (
            True, True, 1.675817657150,
            [-0.0559248672, 0.4246657086, -0.4594552131, 0.3750168171, -0.7758452439, 0.3441776753],
        ),
        (
            False, True, 1.675817657150,
            [-0.0479194657, 0.4664284869, -0.4673231460, 0.4595577268, -0.7725847919, 0.3618411899],
        ),
    ],
)  # fmt: skip
def test_worked_values(distance, frozen, towards, value, slopes):
    t, comparison = compared(distance())
    output = InfoNCELoss(0.5)(comparison, beside(comparison, by_hand(frozen, towards)))
    hold(output.value, t, value, slopes)


def test_without_mixtures():
    t, comparison = compared(Cosine())
    hold(InfoNCELoss(0.5)(comparison, beside(comparison, None)).value, t, 1.116660576907)
    seen = by_hand(True).values(comparison, of_distances=False)
    torch.testing.assert_close(seen[0].tolist(), [0.336863481254, 0.912381441919], rtol=0, atol=2e-12)


def test_what_is_drawn():
    _, comparison = compared(Cosine())
    comparison.moment = Moment(epoch=1, generator=torch.Generator().manual_seed(3))
    mixtures = HardNegativeMixture(hardest=3, between=40, towards=30).mix(comparison, beside(comparison, None))
    assert mixtures.valid.all()
    assert mixtures.negative_weights.all()
    assert mixtures.positive_weights is None
    similarities = comparison.similarities.detach()
    for a, label in enumerate(LABELS):
        nearest = sorted((j for j in range(6) if LABELS[j] != label), key=lambda j: -similarities[a, j])[:3]
        first, second = mixtures.first[a].tolist(), mixtures.second[a].tolist()
        assert set(first[:40]) == set(second) == set(nearest)
        assert all(i != j for i, j in zip(first, second, strict=True))
        assert first[40:] == [-1] * 30
    assert 0.4 < mixtures.share[:, :40].mean() < 0.6
    assert mixtures.share[:, 40:].max() < 0.5


def test_nothing_is_mixed_in_the_first_epochs():
    _, comparison = compared(Cosine())
    part, pairs = HardNegativeMixture(epochs=20, warmup_share=0.1), beside(comparison, None)
    for epoch in (0, 1, 2):
        comparison.moment = Moment(epoch)
        assert (part.mix(comparison, pairs) is None) == (epoch < 2)


def test_with_one_negative_nothing_lies_between():
    _, comparison = compared(Cosine(), labels=[0, 0, 0, 0, 0, 1])
    mixtures = HardNegativeMixture(warmup_share=0.0, between=3, towards=2).mix(comparison, beside(comparison, None))
    assert mixtures.valid.tolist() == [[False] * 3 + [True] * 2] * 5 + [[True] * 5]


def test_opposite_parents_have_no_mixture():
    _, comparison = compared(Cosine(), [0, 10, 90, 270], [0, 0, 1, 2])
    rows = torch.tensor([[2, 2]] * 4), torch.tensor([[3, 3]] * 4), torch.tensor([[0.5, 0.4]] * 4)
    mixtures = Mixtures(*rows, torch.ones(4, 2, dtype=torch.bool)).with_direction(comparison)
    assert mixtures.valid.tolist() == [[False, True]] * 4


def test_parents_from_a_memory_are_those_of_a_batch():
    """Mixtures of references outside of the batch, whose similarities to each other are in no matrix."""
    t, whole = compared(Euclidean())
    z, labels = whole.anchors.embeddings, whole.anchors.labels
    some = Samples.of(z[:2], labels[:2])
    comparison = Comparison(some, [Segment(some), Segment(Samples.of(z[2:], labels[2:]))], Euclidean())
    for frozen in (True, False):
        seen = []
        for one, in_batch in ((whole, True), (comparison, False)):
            mixtures = replace(by_hand(frozen), in_batch=in_batch)
            mixtures = mixtures.at(slice(0, 2)) if one is comparison else mixtures
            for of_distances in (True, False):
                values = mixtures.values(one, of_distances)[:2]
                seen.append((values, torch.autograd.grad(values.square().sum(), t, retain_graph=True)[0]))
        for one, other in zip(seen[:2], seen[2:], strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


def test_what_mixes_nothing_is_refused():
    with pytest.raises(InputError, match="nothing is mixed then; set it or towards above 0"):
        HardNegativeMixture(between=0, towards=0)
    assert math.isclose(HardNegativeMixture(between=0).towards, 16)
