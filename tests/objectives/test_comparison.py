"""Matrices that are made when they are asked for: whole, by rows, among some samples."""

import pytest
import torch
from oracles import DISTANCES, embeddings

from metriscope.errors import InputError
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.samples import Samples, Spaces

LABELS = torch.tensor([0, 0, 1, -1, 1, 2])
FURTHER = torch.tensor([1, 0, -1, 2])


def batch():
    return Samples(embeddings([0] * 6), LABELS, torch.tensor([4, 7, 4, 1, 4, -1]))


def further(negatives_only=False):
    samples = Samples(embeddings([0] * 4, seed=1).detach(), FURTHER, torch.tensor([4, 7, -1, -1]))
    return Segment(samples, negatives_only)


def whole(distance="euclidean", **keys):
    samples = batch()
    return Comparison(samples, [Segment(samples), further(**keys)], DISTANCES[distance]())


def expected(a, j, never):
    labels = [*LABELS.tolist(), *FURTHER.tolist()]
    same, known = labels[a] == labels[j], labels[a] >= 0 and labels[j] >= 0
    return known and same and a != j and not (never and j >= 6), known and not same


@pytest.mark.parametrize("never", [False, True])
def test_masks(never):
    comparison = whole(negatives_only=never)
    assert comparison.shape == comparison.distances.shape == (6, 10)
    for a in range(6):
        for j in range(10):
            found = bool(comparison.positive[a, j]), bool(comparison.negative[a, j])
            assert found == expected(a, j, never), (a, j)


def test_the_same_image_is_told_by_index_and_never_the_sample_itself():
    found = whole().same_image.nonzero().tolist()
    assert found == [[0, 2], [0, 4], [0, 6], [1, 7], [2, 0], [2, 4], [2, 6], [4, 0], [4, 2], [4, 6]]


@pytest.mark.parametrize("distance", sorted(DISTANCES))
@pytest.mark.parametrize("made", [False, True])
def test_rows_are_rows_of_the_whole(distance, made):
    comparison, other = whole(distance, negatives_only=True), whole(distance, negatives_only=True)
    if made:
        _ = comparison.distances, comparison.positive
    for rows in (slice(None, 2), slice(2, 5), slice(5, None)):
        block = comparison.block(rows)
        torch.testing.assert_close(block.distances, other.distances[rows], rtol=1e-12, atol=1e-12)
        assert torch.equal(block.positive, other.positive[rows])
        assert torch.equal(block.negative, other.negative[rows])


def test_a_range_of_anchors_is_excluded_from_its_own_positives():
    samples = batch()
    part = Comparison(samples.at(slice(2, 5)), [Segment(samples), further()], Euclidean(), first=2)
    assert torch.equal(part.positive, whole().positive[2:5])
    assert torch.equal(part.same_image, whole().same_image[2:5])
    assert torch.equal(part.block(slice(1, 3)).positive, whole().positive[3:5])


def test_among_some_samples():
    comparison = whole(negatives_only=True)
    rows, columns = torch.tensor([4, 0]), torch.tensor([0, 2, 4, 6, 9])
    some = comparison.among(rows, columns)
    for name in ("distances", "positive", "negative", "same_image"):
        wanted = getattr(whole(negatives_only=True), name)[rows][:, columns]
        torch.testing.assert_close(getattr(some, name), wanted, rtol=1e-12, atol=1e-12)
    assert comparison.made == [some]
    assert some.origin == comparison.origin


def test_what_is_made_is_kept_and_shared():
    comparison = whole()
    assert not comparison.asked
    assert comparison.made == []
    weighed = comparison.weighed(lambda losses, index: losses)
    assert weighed.distances is comparison.distances
    assert weighed.made == [weighed]
    assert comparison.weigh is None


def test_a_miner_that_asks_first_leaves_a_matrix_with_a_graph():
    comparison = whole()
    with torch.no_grad():
        assert comparison.distances.requires_grad
    with torch.no_grad():
        assert not whole().distances.requires_grad


def test_references_keep_their_graph_whoever_asks_first():
    gradients = []
    for asked in (False, True):
        comparison = whole()
        if asked:
            with torch.no_grad():
                _ = comparison.distances
        gradients.append(torch.autograd.grad(comparison.distances.sum(), comparison.anchors.embeddings)[0])
    assert torch.equal(*gradients)


def test_an_affinity_comes_from_another_space():
    samples = batch()
    own = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]], requires_grad=True)
    samples = samples._replace(affine=own)
    found = Comparison(samples, [Segment(samples)], Cosine()).affinity
    assert not found.requires_grad
    torch.testing.assert_close(found[:3, :3], torch.tensor([[1, 0, 0.5**0.5], [0, 1, 0.5**0.5], [0.5**0.5] * 2 + [1]]))
    with pytest.raises(InputError, match="no affinity"):
        _ = whole().affinity


def test_a_space_that_is_not_there():
    spaces = Spaces.of(torch.eye(2), torch.tensor([0, 1]))
    with pytest.raises(InputError, match="there is no space trunk; the network gives embedding"):
        spaces.samples("trunk")


@pytest.mark.parametrize("name", ["euclidean", "squared_euclidean"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_far_from_the_origin_are_compared_as_if_they_were_near(name, dtype):
    near = embeddings([0] * 8).detach().float()
    offset = torch.tensor([1e4, -1e4, 1e4, 1e4])
    moved = (near + offset).to(dtype)
    exact = (moved.double() - offset.double()).requires_grad_()
    far = moved.clone().requires_grad_()
    found, wanted = DISTANCES[name]()(far, far), DISTANCES[name]()(exact, exact)
    weights = torch.rand(8, 8, generator=torch.Generator().manual_seed(3)).fill_diagonal_(0)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
    ours, theirs = (torch.autograd.grad((d * weights).sum(), z)[0].double() for d, z in ((found, far), (wanted, exact)))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
