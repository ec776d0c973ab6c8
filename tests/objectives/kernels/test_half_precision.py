"""Losses of embeddings in half precision, beside losses of the same numbers in float32."""

import torch
from combinations import every
from oracles import DISTANCES
from row_losses import LOSSES, judged, points
from torch import nn

HALVES = torch.bfloat16, torch.float16


def exact(loss, z, past, distance):
    """Value and gradient of the same numbers in float32."""
    leaf = z.detach().float().requires_grad_()
    value = judged(loss, leaf, past.float(), distance).value
    return value.detach(), torch.autograd.grad(value, leaf)[0]


@every(loss=LOSSES, distance=DISTANCES, dtype=HALVES)
def test_half_embeddings_under_autocast(loss, distance, dtype):
    z, past = (x.detach().to(dtype) for x in points())
    leaf = z.clone().requires_grad_()
    wanted, by_wanted = exact(loss, z, past, distance())
    with torch.autocast("cpu", dtype=dtype):
        value = judged(loss, leaf, past, distance()).value
    (gradient,) = torch.autograd.grad(value, leaf)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(value.detach(), wanted, rtol=1e-6, atol=1e-6)
    # The gradient is rounded once, when it leaves the distance.
    torch.testing.assert_close(gradient.float(), by_wanted, rtol=1e-2, atol=1e-2 * float(by_wanted.abs().max()))


@every(loss=LOSSES, distance=DISTANCES)
def test_a_scaled_loss(loss, distance):
    torch.manual_seed(0)
    network, (z, past) = nn.Linear(4, 4), points(torch.float32)
    found = []
    for scale in (1.0, 65536.0):
        network.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = judged(loss, network(z.detach()), past, distance()).value
        (value * scale).backward()
        found.append(network.weight.grad / scale)
    assert found[0].isfinite().all()
    assert found[1].isfinite().all()
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-6)


@every(loss=LOSSES, distance=DISTANCES, dtype=HALVES)
def test_products_beyond_the_range_of_half_precision(loss, distance, dtype):
    # Squares of these lengths are 90,000, beyond the largest number of float16.
    z, past = (300 * nn.functional.normalize(x.detach().float(), dim=1) for x in points())
    z, past = z.to(dtype), past.to(dtype)
    assert not torch.isfinite((z.half() @ z.half().T).diagonal()).any()
    leaf = z.clone().requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        value = judged(loss, leaf, past, distance()).value
    (gradient,) = torch.autograd.grad(value, leaf)
    wanted, by_wanted = exact(loss, z, past, distance())
    assert value.isfinite()
    # Only a gradient that is itself beyond the range overflows.
    assert torch.equal(gradient.isfinite(), by_wanted.to(dtype).isfinite())
    torch.testing.assert_close(value.detach(), wanted, rtol=1e-6, atol=1e-6)
