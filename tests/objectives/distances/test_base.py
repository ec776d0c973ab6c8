"""Distances against loops, in value and gradient; their slopes against autograd on the similarities."""

import pytest
import torch
from combinations import every
from miner_cases import blended
from oracles import DISTANCES, distance, embeddings, gradient
from torch.nn.functional import normalize
from toy_parts import Stretched

from metriscope.errors import InputError
from metriscope.losses import HistogramLoss, InfoNCELoss, SupConLoss, TripletLoss

NAMES = sorted(DISTANCES)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-5}


def loop(name, anchors, references):
    return torch.stack([torch.stack([distance(name, a, b) for b in references]) for a in anchors])


@pytest.mark.parametrize("name", NAMES)
@every(dtype=list(TOLERANCE))
def test_value_and_gradient_of_anchors_and_references(name, dtype):
    anchors, references = embeddings([0] * 5, dtype), embeddings([0] * 7, dtype, seed=1)
    found = DISTANCES[name]()(anchors, references)
    a, r = (x.detach().double().requires_grad_() for x in (anchors, references))
    wanted = loop(name, a, r)
    assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=TOLERANCE[dtype])
    weights = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    tolerance = 0.02 if dtype == torch.bfloat16 else TOLERANCE[dtype]  # leaves take gradients in their own dtype
    for leaf, oracle in ((anchors, a), (references, r)):
        found_gradient = torch.autograd.grad((found.double() * weights).sum(), leaf, retain_graph=True)[0]
        wanted_gradient = torch.autograd.grad((wanted * weights).sum(), oracle, retain_graph=True)[0]
        torch.testing.assert_close(found_gradient.double(), wanted_gradient, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_batch_with_itself_gets_both_gradients(name):
    z = embeddings([0] * 6)
    weights = torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    weights.fill_diagonal_(0)  # no loss looks at the distance of a sample to itself
    found = gradient((DISTANCES[name]()(z, z) * weights).sum(), z)
    wanted = gradient((loop(name, z, z) * weights).sum(), z)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-10)


def test_gradcheck():
    a, b = embeddings([0] * 3), embeddings([0] * 4, seed=1)
    for name in NAMES:
        assert torch.autograd.gradcheck(DISTANCES[name](), (a, b))


@pytest.mark.parametrize("name", NAMES)
@every(dtype=(torch.float32, torch.float64))
def test_duplicates_are_at_zero_with_a_finite_gradient(name, dtype):
    z = embeddings([0] * 6, dtype, size=64).detach()
    z[3:] = z[:3]
    z.requires_grad_()
    d = DISTANCES[name]()(z, z)
    found = d.detach()
    eps = torch.finfo(dtype).eps
    assert not found.diagonal(3).any()
    assert found.min() >= (-10 * eps if name == "cosine" else 0)
    assert DISTANCES[name]().slope(found).isfinite().all()
    assert gradient(d.sum(), z).isfinite().all()
    if dtype == torch.float64:
        assert gradient(DISTANCES[name]()(z, z).diagonal(3).sum(), z).abs().max() < 1e-6


@pytest.mark.parametrize("name", NAMES)
def test_zero_vectors_give_finite_gradients(name):
    z = torch.zeros(3, 4, requires_grad=True)
    d = DISTANCES[name]()(z, z)
    assert d.isfinite().all()
    assert gradient(d.sum(), z).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_slope_is_the_derivative_by_the_similarity(name):
    """On the unit sphere every distance is a function of s = a.b; autograd on s is the oracle."""
    z = torch.nn.functional.normalize(embeddings([0] * 6).detach(), dim=1)
    s = (z @ z.T).requires_grad_()
    squared = 2 - 2 * s
    off_diagonal = ~torch.eye(6, dtype=torch.bool)
    by_hand = {
        "squared_euclidean": squared,
        "euclidean": squared.masked_fill(~off_diagonal, 1).sqrt(),
        "cosine": 1 - s,
    }[name]
    (wanted,) = torch.autograd.grad(by_hand[off_diagonal].sum(), s)
    built = DISTANCES[name]()
    found = built.slope(built(z, z))
    torch.testing.assert_close(found[off_diagonal], wanted.abs()[off_diagonal], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_to_euclidean_on_the_sphere(name):
    z = torch.nn.functional.normalize(embeddings([0] * 6).detach(), dim=1)
    built = DISTANCES[name]()
    torch.testing.assert_close(built.to_euclidean(built(z, z)), loop("euclidean", z, z), rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_does_not_take_digits_away(name):
    z = embeddings([0] * 8, torch.float32, size=32)
    plain = DISTANCES[name]()(z, z)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = DISTANCES[name]()(z, z)
    torch.testing.assert_close(under, plain, rtol=0, atol=0)
    torch.testing.assert_close(gradient(under.sum(), z), gradient(plain.sum(), z), rtol=0, atol=0)


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_distance_and_gradient_of_a_blend(name, spherical):
    z = embeddings([0] * 3)
    if spherical:
        z = normalize(z.detach(), dim=1).requires_grad_()
    built = DISTANCES[name]()
    # The way of a run: normalisation is part of the graph.
    points = normalize(z, dim=1) if spherical else z
    table = built(points, points)
    for share in (0.0, 0.2, 0.5, 0.9, 1.0):
        moved = torch.tensor(share, dtype=torch.float64)
        found = built.blend(table[0, 1], table[0, 2], table[1, 2], moved, spherical)
        wanted = distance(name, points[0], blended(name, points, 1, 2, share, spherical))
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
        a, b = (torch.autograd.grad(x, z, retain_graph=True)[0] for x in (found, wanted))
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("name", [*NAMES, "stretched"])
def test_gradients_by_hand_are_those_of_autograd(name):
    built = Stretched().double() if name == "stretched" else DISTANCES[name]()
    rows = embeddings([0] * 5), embeddings([0] * 7, seed=1)
    anchors, references = (x.detach().requires_grad_() for x in built.prepare(*rows))
    distances = built.block(anchors, references)
    slopes = torch.randn(5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    wanted = torch.autograd.grad((distances * slopes).sum(), (anchors, references))
    for found, expected in zip(built.pull(anchors, references, distances.detach(), slopes), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_points_to_search_rank_as_the_distance_does(name):
    built, z = DISTANCES[name](), embeddings([0] * 12).detach()
    points = built.search(z)
    assert torch.equal(built(z, z).argsort(1)[:, 1:], torch.cdist(points, points).argsort(1)[:, 1:])


def test_a_distance_of_ones_own_says_one_thing():
    """Similarities, slopes and the way back follow from what its distances mean on the unit sphere."""
    own, known = Stretched().double(), DISTANCES["squared_euclidean"]()
    z = normalize(embeddings([0] * 6).detach(), dim=1)
    d = known(z, z)
    torch.testing.assert_close(own(z, z).detach(), d, rtol=1e-12, atol=1e-12)
    for one, other in (
        (own.similarity(d), known.similarity(d)),
        (own.to_euclidean(d), known.to_euclidean(d)),
        (own.slope(d), known.slope(d)),
        (own.from_similarity_(d.clone(), d), known.from_similarity_(d.clone(), d)),
    ):
        torch.testing.assert_close(one.detach(), other, rtol=1e-12, atol=1e-12)
    share = torch.tensor(0.5)
    with pytest.raises(InputError, match="distance=stretched has no mixtures"):
        own.blend(d, d, d, share, True)


@pytest.mark.parametrize(
    "loss", [InfoNCELoss(), HistogramLoss(), TripletLoss(), SupConLoss()], ids=lambda x: type(x).__name__
)
def test_parameters_of_a_distance_get_their_gradient(loss):
    own = Stretched().double()

    def value(logarithm):
        own.logarithm.data.fill_(logarithm)
        z = embeddings([0] * 6)
        return loss(z, torch.tensor([0, 0, 1, 1, 2, 2]), distance=own)

    (found,) = torch.autograd.grad(value(0.3), own.logarithm, allow_unused=True)
    step = 1e-5
    wanted = (value(0.3 + step) - value(0.3 - step)) / (2 * step)
    assert float(0 if found is None else found) == pytest.approx(float(wanted), rel=1e-6, abs=1e-9)
