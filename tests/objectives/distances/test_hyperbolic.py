"""The hyperbolic distance against the Moebius form in float64, worked examples, and what it refuses."""

import math

import pytest
import torch

from metriscope.errors import InputError
from metriscope.losses import InfoNCELoss, TripletLoss
from metriscope.objectives.distances.hyperbolic import Hyperbolic

U = [[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [1.0, 1.0]]


def points(rows=U):
    return torch.tensor(rows, dtype=torch.float64, requires_grad=True)


def moebius(u, v, c, clip):
    """Pairs (n, D) by the authors' steps without their constants: clip, exponential map, Moebius sum, artanh."""

    def ball(w):
        n = w.norm(dim=1, keepdim=True)
        w = w * (clip / n).clamp_max(1)
        a = c**0.5 * w.norm(dim=1, keepdim=True)
        return a.tanh() * w / a

    x, y = -ball(u), ball(v)
    xy, xx, yy = (x * y).sum(1, keepdim=True), x.square().sum(1, keepdim=True), y.square().sum(1, keepdim=True)
    total = ((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c * c * xx * yy)
    return 2 / c**0.5 * (c**0.5 * total.norm(dim=1)).atanh()


def test_the_worked_example():
    u = points()
    d = Hyperbolic(0.1, 2.3)(u, u)
    wanted = {(0, 1): 4.67660794045, (0, 2): 2.6, (0, 3): 2.13204285208, (1, 2): 6.77508395894}
    wanted |= {(1, 3): 3.19616892479, (2, 3): 3.69752659501}
    for (i, j), value in wanted.items():
        assert d[i, j].item() == pytest.approx(value, abs=1e-11)
        assert d[j, i].item() == pytest.approx(value, abs=1e-11)
    assert not d.diagonal().any()
    (found,) = torch.autograd.grad(d[0, 1], u)
    assert found[0].tolist() == pytest.approx([1.2421338730, -1.6741260926], abs=1e-10)
    assert found[1].tolist() == pytest.approx([-0.8370630463, 1.8916084984], abs=1e-10)


def test_the_paper_s_loss_is_infonce_of_each_pair_of_views():
    u = points()
    distance, loss = Hyperbolic(0.1, 2.3), InfoNCELoss(temperature=0.2)
    d = distance(u, u)
    # The slots (u0, u1) and (u3, u2): each anchor's match, the other of the other slot, the other of its own.
    logits = -torch.stack([d[0, [3, 2, 1]], d[1, [2, 3, 0]]]) / 0.2
    one = torch.nn.functional.cross_entropy(logits, torch.zeros(2, dtype=torch.int64))
    assert one.item() == pytest.approx(8.99358627291, abs=1e-10)
    (found,) = torch.autograd.grad(one, u, retain_graph=True)
    assert found[0].tolist() == pytest.approx([0.4949825191, -0.4627089497], abs=1e-9)
    assert found[2].tolist() == pytest.approx([0, -2.0703141237], abs=1e-9)
    both = 2 * loss(u, torch.tensor([0, 1, 1, 0]), distance=distance)
    assert both.item() == pytest.approx(19.43599791049, abs=1e-9)
    (found,) = torch.autograd.grad(both, u)
    assert found[0].tolist() == pytest.approx([5.4778202207, -0.4905590082], abs=1e-9)
    assert found[2].tolist() == pytest.approx([0, -4.1286938405], abs=1e-9)


@pytest.mark.parametrize(("c", "clip"), [(0.1, 2.3), (1.0, 1.0), (0.05, 9.0)])
def test_values_and_gradients_are_those_of_the_moebius_form(c, clip):
    source = torch.Generator().manual_seed(0)
    a, r = ((2 * torch.randn(n, 5, dtype=torch.float64, generator=source)).requires_grad_() for n in (6, 9))
    weights = torch.randn(6, 9, dtype=torch.float64, generator=source)
    i, j = (one.flatten() for one in torch.meshgrid(torch.arange(6), torch.arange(9), indexing="ij"))
    wanted = moebius(a[i], r[j], c, clip).view(6, 9)
    found = Hyperbolic(c, clip)(a, r)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=0)
    for leaf in (a, r):
        by = [torch.autograd.grad((d * weights).sum(), leaf, retain_graph=True)[0] for d in (found, wanted)]
        torch.testing.assert_close(*by, rtol=1e-8, atol=1e-9)


def test_a_small_curvature_is_twice_the_euclidean_distance():
    u = points()
    clipped = u * torch.tensor([[1.0], [1.0], [2.3 / 3], [1.0]], dtype=u.dtype)
    found, wanted = Hyperbolic(1e-8, 2.3)(u, u), 2 * torch.cdist(clipped, clipped)
    apart = ~torch.eye(4, dtype=torch.bool)
    torch.testing.assert_close(found[apart], wanted[apart], rtol=1.6e-8, atol=0)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 8.0])
def test_close_pairs_keep_their_digits_in_float32(scale):
    source = torch.Generator().manual_seed(1)
    u = torch.nn.functional.normalize(torch.randn(5, 8, generator=source), dim=1) * scale
    v = u + 1e-4 * scale * torch.randn(5, 8, generator=source)
    distance = Hyperbolic(0.1, 10.0)
    rows = [one.detach().requires_grad_() for one in (u, v)]
    exact = [one.double().detach().requires_grad_() for one in (u, v)]
    found, wanted = distance(*rows).diagonal(), moebius(*exact, 0.1, 10.0)
    torch.testing.assert_close(found.double(), wanted, rtol=5e-3 if scale > 1 else 1e-3, atol=0)
    for one, other in zip(
        torch.autograd.grad(found.sum(), rows), torch.autograd.grad(wanted.sum(), exact), strict=True
    ):
        torch.testing.assert_close(one.double(), other, rtol=2e-2, atol=2e-2)


def test_the_origin_duplicates_and_clipped_rows():
    u = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0], [5.0, 0.0], [0.0, 7.0]], requires_grad=True)
    d = Hyperbolic(0.1, 2.3)(u, u)
    assert d[0, 1] == d[2, 3] == 0
    assert d[0].tolist() == pytest.approx([0, 0, 2, 2, 4.6, 4.6], abs=1e-5)
    (alike,) = torch.autograd.grad(d[0, 1] + d[2, 3] + d.diagonal().sum(), u, retain_graph=True)
    assert not alike.any()
    (of_origin,) = torch.autograd.grad(d[0, 2], u, retain_graph=True)
    assert of_origin[0].tolist() == pytest.approx([-2, 0], abs=1e-5)
    (of_clipped,) = torch.autograd.grad(d[4, 5] + d[2, 4] + d[3, 5], u)
    assert of_clipped[[4, 5], [0, 1]].abs().max() < 1e-6


def test_without_a_clip_nothing_overflows_and_bfloat16_is_computed_in_float32():
    u = torch.tensor([[1e3, 0.0], [0.0, 1e3], [1.0, 1.0]], dtype=torch.bfloat16, requires_grad=True)
    d = Hyperbolic(1.0, None)(u, u)
    assert d.dtype == torch.float32
    assert d[0, 1].item() == pytest.approx(60 - math.log(2), rel=1e-3)
    (found,) = torch.autograd.grad(d.sum(), u)
    assert found.isfinite().all()


def test_similarities_and_distances_give_one_gradient_in_blocks():
    source = torch.Generator().manual_seed(3)
    u = torch.randn(40, 6, dtype=torch.float64, generator=source).requires_grad_()
    labels = torch.arange(40) % 5
    distance = Hyperbolic()
    for loss in (InfoNCELoss(temperature=0.5), TripletLoss(margin=0.5)):
        by = []
        for memory in (None, 0.01):
            value = loss(u, labels, distance=distance, memory_mb=memory)
            by.append(torch.autograd.grad(value, u)[0])
        torch.testing.assert_close(*by, rtol=1e-9, atol=1e-12)
    assert torch.autograd.gradcheck(distance, (u[:3], u[3:7]))


def test_what_it_refuses():
    with pytest.raises(InputError, match=r"clip=60\.0: with curvature=0\.1 it has to be at most 47\.4342"):
        Hyperbolic(0.1, 60.0)
    for wrong in ({"curvature": 0}, {"curvature": -1}, {"clip": 0}, {"curvature": math.inf}, {"curvature": "data"}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))}="):
            Hyperbolic(**wrong)
    with pytest.raises(InputError, match="no Euclidean distance"):
        Hyperbolic().to_euclidean(torch.zeros(1, 1))
