"""Points between samples of a class: where they are, whose negatives they are, and the triplets that they stand in."""

import math

import pytest
import torch
from combinations import every
from torch import Tensor
from torch.nn.functional import normalize

from metriscope.errors import InputError
from metriscope.losses import InfoNCELoss, MarginLoss, MultiSimilarityLoss, SoftMarginTripletLoss, TripletLoss
from metriscope.miners import AllMiner, BatchHardMiner
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.objective import Objective
from metriscope.objectives.references.embedding_expansion import EmbeddingExpansion, partners
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.objectives.samples import Moment, Samples, Spaces

DEGREES, LABELS = (0, 30, 40, 80, 120, 200), [0, 0, 1, 1, 2, 2]
# Of a triplet loss by batch_hard with stand-ins, n = 2 and m = 0.3: by loops, with gradients by the angles.
VALUE = 0.655137176051
GRADIENT = [-0.2689872951, 0.9285098185, -0.9214794691, 0.5596249563, -0.5196442161, 0.2219762055]
NEAREST = [(0.517638, 0.345510), (0.517638, 0.174311), (0.684040, 0.174311), (0.684040, 0.400147)]
NEAREST += [(1.285575, 0.684040), (1.285575, 1.065364)]


def on_circle(degrees=DEGREES):
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad().requires_grad_()
    return angles, torch.stack([angles.cos(), angles.sin()], 1)


def objective(loss, miner=None, references=None, distance=None):
    return Objective(distance or Euclidean(), miner or AllMiner(), loss, references or [EmbeddingExpansion()])


def hphn(z, labels, n, margin):
    """The triplets of the paper, by loops over pairs of adjacent samples."""
    points = [(i, normalize(k * z[i ^ 1] + (n + 1 - k) * z[i], dim=0)) for i in range(len(z)) for k in range(1, n + 1)]
    everything = [*enumerate(z), *points]
    found = []
    for i in range(len(z)):
        group = [point for j, point in everything if j == i]
        others = [point for j, point in everything if labels[j] != labels[i]]
        far = max((z[i] - z[j]).norm() for j in range(len(z)) if j != i and labels[j] == labels[i])
        found.append((far, min((x - other).norm() for x in group for other in others)))
    return found, sum((far - near + margin).clamp_min(0) for far, near in found) / len(found)


def test_the_worked_example():
    angles, z = on_circle()
    built = objective(TripletLoss(0.3), BatchHardMiner(stand_ins=True))
    value = built(Spaces.of(z, torch.tensor(LABELS))).output.value
    torch.testing.assert_close(value.item(), VALUE, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(value, angles)
    torch.testing.assert_close(gradient, torch.tensor(GRADIENT, dtype=torch.float64), rtol=0, atol=1e-10)
    found, total = hphn(z, LABELS, 2, 0.3)
    torch.testing.assert_close(total.item(), VALUE, rtol=0, atol=1e-12)
    pairs = torch.stack([torch.stack(pair) for pair in found]).detach()
    torch.testing.assert_close(pairs, torch.tensor(NEAREST, dtype=torch.float64), rtol=0, atol=1e-6)


@every(n=(1, 3), distance=(Euclidean, Cosine), memory_mb=(None, 6e-3))
def test_triplets_against_a_loop(n, distance, memory_mb):
    raw = torch.randn(12, 5, generator=torch.Generator().manual_seed(n), dtype=torch.float64).requires_grad_()
    z, labels = normalize(raw, dim=1), [0, 0, 0, 0, 1, 1, 2, 2, 0, 0, 1, 1]
    built = objective(TripletLoss(0.4), BatchHardMiner(stand_ins=True), [EmbeddingExpansion(n)], distance())
    built.memory_mb = memory_mb
    value = built(Spaces.of(z, torch.tensor(labels))).output.value
    found, wanted = hphn(z, labels, n, 0.4)
    if distance is Cosine:
        wanted = sum((far**2 / 2 - near**2 / 2 + 0.4).clamp_min(0) for far, near in found) / len(found)
    torch.testing.assert_close(value, wanted, rtol=1e-12, atol=1e-12)
    gradients = [torch.autograd.grad(one, raw, retain_graph=True)[0] for one in (value, wanted)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-10)


def test_partners_are_those_of_the_class_in_order():
    assert partners(torch.tensor([0, 0, 1, 1, 2, 2])).tolist() == [1, 0, 3, 2, 5, 4]
    assert partners(torch.tensor([5, 3, 5, -1, 3, 5, -1, 9])).tolist() == [2, 4, 0, -1, 1, -1, -1, -1]
    assert partners(torch.tensor([], dtype=torch.int64)).tolist() == []


def recalled(z: Tensor, labels, **keys) -> Samples:
    return EmbeddingExpansion(**keys).recall(Samples.of(z, torch.tensor(labels)), Moment()).samples


def test_points_divide_the_segment_evenly():
    _, z = on_circle()
    points = recalled(z, LABELS)
    assert points.labels.tolist() == LABELS * 2
    assert points.source.tolist() == [*range(6)] * 2
    assert (points.index == -1).all()
    wanted = [normalize(k * z[i ^ 1] + (3 - k) * z[i], dim=0) for k in (1, 2) for i in range(6)]
    torch.testing.assert_close(points.embeddings, torch.stack(wanted), rtol=1e-14, atol=1e-15)
    flat = recalled(3 * z, LABELS, spherical=False, points=1).embeddings
    torch.testing.assert_close(flat, torch.stack([1.5 * (z[i] + z[i ^ 1]) for i in range(6)]), rtol=1e-14, atol=1e-15)


def test_who_has_no_points():
    z = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, 1], [1, 0], [1e-5 - 1, 1e-5]]).requires_grad_()
    points = recalled(z, [0, 0, 1, 1, 2, 2], points=1)
    assert points.labels.tolist() == [-1, -1, 1, 1, -1, -1]
    assert points.embeddings[2:4].tolist() == [[0, 1], [0, 1]]
    (gradient,) = torch.autograd.grad(points.embeddings.sum(), z)
    assert not gradient[[0, 1, 4, 5]].any()
    assert recalled(z, [0, 1, 2, -1, -1, 3]).labels.tolist() == [-1] * 12


def test_points_are_negatives_of_other_classes_alone():
    _, z = on_circle()
    built = objective(InfoNCELoss(0.5), distance=Cosine())
    comparison = built.compare(Samples.of(z, torch.tensor(LABELS)))
    assert comparison.shape == (6, 18)
    assert not comparison.positive[:, 6:].any()
    assert torch.equal(comparison.negative[:, 6:], comparison.negative[:, :6].repeat(1, 2))
    s, labels = comparison.similarities.exp().square(), [*LABELS, *LABELS * 2]
    terms = [
        -(s[a, a ^ 1] / (s[a, a ^ 1] + sum(s[a, n] for n in range(18) if labels[n] != labels[a]))).log()
        for a in range(6)
    ]
    value = built(Spaces.of(z, torch.tensor(LABELS))).output.value
    torch.testing.assert_close(value, sum(terms) / 6, rtol=1e-13, atol=0)


@every(loss=(InfoNCELoss, MultiSimilarityLoss, TripletLoss), memory=(True, False))
def test_nothing_changes_in_validation_or_without_pairs(loss, memory):
    _, z = on_circle()
    past = [CrossBatchMemory(4, 2)] if memory else []
    plain, expanded = (
        Objective(Euclidean(), AllMiner(), loss(), [*past, *one]) for one in ([], [EmbeddingExpansion()])
    )
    batch = Spaces.of(z, torch.tensor(LABELS))
    assert torch.equal(plain.eval()(batch).output.value, expanded.eval()(batch).output.value)
    assert not torch.equal(plain.train()(batch).output.value, expanded.train()(batch).output.value)


def test_stand_ins_without_points_are_batch_hard():
    _, z = on_circle()
    for labels in (LABELS, [0, 1, 2, 3, 4, 5], [0] * 6, [0, 0, 1, 2, 3, -1]):
        batch = Spaces.of(z, torch.tensor(labels))
        plain, other = (objective(TripletLoss(), BatchHardMiner(one)) for one in (None, True))
        assert torch.equal(plain.eval()(batch).output.value, other.eval()(batch).output.value)
        value = other.train()(batch).output.value
        assert value.isfinite()


def test_losses_of_pairs_refuse_stand_ins():
    _, z = on_circle()
    batch = Spaces.of(z, torch.tensor(LABELS))
    assert math.isfinite(objective(SoftMarginTripletLoss(), BatchHardMiner(True))(batch).output.value)
    for loss in (InfoNCELoss(), MarginLoss(num_classes=3, embedding_size=2)):
        with pytest.raises(InputError, match=r"^triplets with stand-ins are no pairs: use loss=triplet or set miner"):
            objective(loss, BatchHardMiner(True))(batch)
