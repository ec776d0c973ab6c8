"""The margin on the angle, over the whole half circle."""

import math

import pytest
import torch
from proxy_oracles import SIZE, compare

from metriscope.objectives.losses.classes.arcface import ArcFaceLoss
from metriscope.objectives.losses.classes.proxies import add_angle


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 1.5, 3.0])
def test_against_the_arc_cosine(margin):
    theta = torch.linspace(0.01, math.pi - 0.01, 101, dtype=torch.float64)
    cosine = theta.cos().requires_grad_()
    found = add_angle(cosine, margin)
    angle = cosine.acos()
    fallback = cosine - margin * math.sin(margin)
    wanted = torch.where(angle <= math.pi - margin, (angle + margin).cos(), fallback)
    torch.testing.assert_close(found, wanted)
    by_found, by_wanted = (torch.autograd.grad(x.sum(), cosine, retain_graph=True)[0] for x in (found, wanted))
    torch.testing.assert_close(by_found, by_wanted)
    # The further from its class, the lower the score; only where the fallback begins may it step.
    assert (by_found > 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ends_are_finite(dtype):
    cosine = torch.tensor([-1 - 1e-7, -1, 0, 1, 1 + 1e-7], dtype=dtype, requires_grad=True)
    moved = add_angle(cosine, 0.5)
    assert moved.isfinite().all()
    assert torch.autograd.grad(moved.sum(), cosine)[0].isfinite().all()
    assert float(moved[3].detach()) == pytest.approx(math.cos(0.5), abs=1e-3)


def test_small_losses_keep_their_digits():
    """A sample on its class vector, all others opposite: the loss is e^-16, not the rounding of 8 - 8."""
    loss = ArcFaceLoss(2, SIZE, margin=0.0, scale=8.0)
    with torch.no_grad():
        loss.proxies[1] = -loss.proxies[0]
    z = loss.proxies.detach()[:1].clone().requires_grad_()
    value = loss(compare(z, [0]), None).value
    assert float(value.detach()) == pytest.approx(1.125e-7, rel=0.1)
