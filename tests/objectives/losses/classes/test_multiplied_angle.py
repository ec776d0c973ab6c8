"""The multiplied angle, and where the vectors of both losses begin; values are held in test_proxies."""

import math

import pytest
import torch

from metriscope.errors import InputError
from metriscope.losses import LargeMarginSoftmaxLoss, SphereFaceLoss
from metriscope.objectives.losses.classes.multiplied_angle import multiply_angle


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 7])
def test_psi_is_monotone_smooth_and_the_cosine_of_the_multiple(factor):
    theta = torch.linspace(0.001, math.pi - 0.001, 500, dtype=torch.float64)
    cosine = theta.cos().requires_grad_()
    psi = multiply_angle(cosine, factor)
    turns = (theta * factor / math.pi).floor()
    torch.testing.assert_close(psi, (-1) ** turns * (factor * theta).cos() - 2 * turns, rtol=1e-9, atol=1e-9)
    assert (psi.diff() <= 1e-9).all()
    (slopes,) = torch.autograd.grad(psi.sum(), cosine)
    torch.testing.assert_close(slopes, factor * (factor * theta).sin().abs() / theta.sin(), rtol=1e-6, atol=1e-6)


def test_psi_at_the_ends():
    ends = torch.tensor([1.0 + 1e-7, 1.0, -1.0, -1.0 - 1e-7], requires_grad=True)
    psi = multiply_angle(ends, 4)
    torch.testing.assert_close(psi.detach(), torch.tensor([1.0, 1.0, -7.0, -7.0]), rtol=0, atol=1e-4)
    psi.sum().backward()
    torch.testing.assert_close(ends.grad, torch.full((4,), 16.0), rtol=1e-3, atol=0)


def test_where_vectors_begin():
    torch.manual_seed(0)
    free, unit = LargeMarginSoftmaxLoss(200, 64), SphereFaceLoss(200, 64)
    assert free.proxies.std().item() == pytest.approx(1, abs=0.05)
    torch.testing.assert_close(unit.proxies.norm(dim=1), torch.ones(200))


def test_a_margin_is_a_whole_number():
    with pytest.raises(InputError, match=r"^margin=2.5: it has to be a whole number of at least 1"):
        SphereFaceLoss(3, 4, margin=2.5)
