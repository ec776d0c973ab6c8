"""Conversions between kinds of selection."""

import pytest
import torch
from combinations import every
from oracles import INF, LAYOUTS, compare, embeddings, listed, masks, pairs, triplets_of

from metriscope.errors import InputError
from metriscope.losses import ContrastiveLoss, InfoNCELoss, MultiSimilarityLoss, SupConLoss, TripletLoss
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.miners.curriculum import CurriculumMiner
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import Pairs, TripletBand, Triplets, as_pairs, triplet_distances

LABELS = LAYOUTS["uneven, with a singleton"]


@pytest.fixture
def comparison():
    return compare(embeddings(LABELS), LABELS)


@pytest.fixture
def some():
    positive, negative = pairs(LABELS)
    return Pairs(masks(positive[::2], len(LABELS)), masks(negative[::3], len(LABELS)))


def test_everything_as_pairs(comparison):
    found = as_pairs(TripletBand(), comparison)
    assert (listed(found.positive), listed(found.negative)) == pairs(LABELS)


def test_pairs_are_pairs(comparison, some):
    assert as_pairs(some, comparison) is some
    assert as_pairs(TripletBand(pairs=some), comparison) is some


@pytest.mark.parametrize("band", [(0.0, INF), (-INF, 0.0), (0.0, 0.2), (0.2, 0.0)])
def test_bounded_bands_are_no_pairs(comparison, some, band):
    for selection in (TripletBand(*band), TripletBand(*band, pairs=some)):
        with pytest.raises(InputError, match="cannot be turned into pairs"):
            as_pairs(selection, comparison)


def test_a_list_as_pairs(comparison):
    chosen = triplets_of(*pairs(LABELS))[::7]
    entries = [(*t, True) for t in [*chosen, *chosen]] + [(2, 2, 8, False), (8, 8, 8, False)]
    a, p, n, valid = (torch.tensor(column) for column in zip(*entries, strict=True))
    found = as_pairs(Triplets(a, p, n, valid), comparison)
    assert listed(found.positive) == sorted({(a, p) for a, p, _ in chosen})
    assert listed(found.negative) == sorted({(a, n) for a, _, n in chosen})
    assert found.positive.dtype == found.negative.dtype == torch.bool


def test_an_empty_list_as_pairs(comparison):
    nothing = torch.zeros(0, dtype=torch.int64)
    found = as_pairs(Triplets(nothing, nothing, nothing, nothing.bool()), comparison)
    assert not found.positive.any()
    assert not found.negative.any()
    assert found.positive.shape == comparison.distances.shape


def test_unbounded():
    assert TripletBand().unbounded
    assert not TripletBand(high=0.0).unbounded
    assert not TripletBand(low=0.0).unbounded


@every(labels=LAYOUTS)
def test_a_batch_compared_with_itself(labels):
    z = embeddings(labels)
    comparison = compare(z, labels)
    assert (listed(comparison.positive), listed(comparison.negative)) == pairs(labels)
    assert comparison.distances.shape == (len(labels), len(labels))
    assert comparison.distances.requires_grad


def ranges(z, labels, *ends):
    """Comparisons of some anchors in turn with the whole batch."""
    batch = Samples.of(z, torch.tensor(labels))
    starts = (0, *ends)
    for start, stop in zip(starts, (*ends, len(labels)), strict=True):
        rows = slice(start, stop)
        yield rows, Comparison(batch.at(rows), [Segment(batch)], Euclidean(), first=start)


def test_selections_of_some_anchors(comparison, some):
    chosen = triplets_of(*pairs(LABELS))[::5]
    a, p, n = (torch.tensor(column) for column in zip(*chosen, strict=True))
    weighted = Pairs(some.positive, some.negative, torch.rand(some.positive.shape))
    for selection in (some, weighted, TripletBand(pairs=some), Triplets(a, p, n, torch.ones(len(a), dtype=torch.bool))):
        whole = as_pairs(selection, comparison)
        for rows, part in ranges(embeddings(LABELS), LABELS, 3, 7):
            found = as_pairs(selection.at(rows), part)
            assert torch.equal(found.positive, whole.positive[rows])
            assert torch.equal(found.negative, whole.negative[rows])
    assert torch.equal(weighted.at(slice(3, 7)).positive_weights, weighted.positive_weights[3:7])
    assert TripletBand(0.0, 1.0).at(slice(3, 7)) == TripletBand(0.0, 1.0)


def test_mixtures_of_some_anchors():
    comparison = compare(embeddings(LABELS), LABELS)
    selection = CurriculumMiner(epochs=1, semihard_share=0, interpolation=0.5)(comparison)
    whole = triplet_distances(selection, comparison)
    rows = slice(None, 4)
    for one, other in zip(triplet_distances(selection.at(rows), comparison), whole, strict=True):
        assert torch.equal(one, other[rows])


@pytest.mark.parametrize(
    "loss",
    [SupConLoss(), InfoNCELoss(), MultiSimilarityLoss(), ContrastiveLoss(reduction="sum"), TripletLoss(0.5, "sum")],
)
def test_ranges_of_anchors_add_up_to_the_whole(loss):
    z = embeddings(LABELS)
    output = loss(compare(z, LABELS), TripletBand())
    total = output.value if getattr(loss, "reduction", "mean") == "sum" else output.value * output.terms
    found, terms = 0, 0
    for _, part in ranges(z, LABELS, 2, 3, 8):
        one = loss(part, TripletBand())
        found = found + (one.value if getattr(loss, "reduction", "mean") == "sum" else one.value * one.terms)
        terms += int(one.terms)
    assert terms == int(output.terms)
    torch.testing.assert_close(found, total, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(*(torch.autograd.grad(value, z)[0] for value in (found, total)), rtol=1e-10, atol=1e-12)
