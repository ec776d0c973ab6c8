"""Distances and gradients are those of float64 wherever points lie and however close they are to one another."""

import pytest
import torch
from combinations import every
from oracles import DISTANCES
from torch import Tensor

from metriscope.losses import ContrastiveLoss, TripletLoss

BOUND = 1e-3


def clusters(size: int, scale: float, offset: float, spread: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """24 points, tight around two centres, some of them twice, all moved by ``offset``."""
    source = torch.Generator().manual_seed(0)
    centres = torch.randn(2, size, generator=source, dtype=torch.float64)
    z = centres.repeat(12, 1) + spread * torch.randn(24, size, generator=source, dtype=torch.float64)
    z[-3:] = z[:3]
    return (scale * (z + offset)).to(dtype)


def loop(z: Tensor, power: int) -> Tensor:
    squared = (z[:, None] - z).square().sum(2)
    return squared if power == 2 else torch.where(squared > 0, squared, 1).sqrt() * (squared > 0)


def close(found: Tensor, wanted: Tensor) -> bool:
    return bool((found.double() - wanted).norm() <= BOUND * wanted.norm())


@every(
    size=(2, 32, 512),
    scale=(1e-3, 1.0, 1e4),
    offset=(0.0, 1.0, 1e3, 1e4),
    spread=(1.0, 1e-3, 1e-6),
    power=(1, 2),
)
def test_grid(size: int, scale: float, offset: float, spread: float, power: int) -> None:
    z = clusters(size, scale, offset, spread).requires_grad_()
    exact = z.detach().double().requires_grad_()
    found = DISTANCES["squared_euclidean" if power == 2 else "euclidean"]()(z, z)
    wanted = loop(exact, power)
    torch.testing.assert_close(found.double(), wanted, rtol=BOUND, atol=0)
    weights = torch.randn(24, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    a, b = (torch.autograd.grad((d.double() * weights).sum(), leaf)[0] for d, leaf in ((found, z), (wanted, exact)))
    assert close(a, b)


@every(dtype=(torch.float16, torch.bfloat16), offset=(0.0, 100.0), power=(1, 2))
def test_half_precision_differences(dtype: torch.dtype, offset: float, power: int) -> None:
    z = clusters(32, 1.0, offset, 1e-2, dtype)
    found = DISTANCES["squared_euclidean" if power == 2 else "euclidean"]()(z, z)
    torch.testing.assert_close(found.double(), loop(z.double(), power), rtol=BOUND, atol=0)


@pytest.mark.parametrize("loss", [TripletLoss(), ContrastiveLoss()], ids=lambda x: type(x).__name__)
@every(offset=(0.0, 1e3, 1e4), spread=(1e-1, 1e-4, 1e-6), name=("squared_euclidean", "euclidean"))
def test_gradients_of_losses(loss: torch.nn.Module, offset: float, spread: float, name: str) -> None:
    """The classes lie within one another, so all gradients come from differences of close points."""
    z = clusters(32, 1.0, offset, spread)
    labels = torch.arange(24) // 2 % 3
    values, gradients = [], []
    for leaf in (z.clone().requires_grad_(), z.double().requires_grad_()):
        value = loss(leaf, labels, distance=DISTANCES[name]())
        values.append(float(value))
        gradients.append(torch.autograd.grad(value, leaf)[0])
    assert values[0] == pytest.approx(values[1], rel=BOUND)
    assert close(*gradients)


@every(size=(2, 32, 512), spread=(1.0, 1e-2, 1e-3, 1e-5))
def test_cosine_of_close_directions(size: int, spread: float) -> None:
    z = clusters(size, 1.0, 0.0, spread)
    unit = torch.nn.functional.normalize(z.double(), dim=1)
    wanted = (unit[:, None] - unit).square().sum(2) / 2
    # Unit rows are rounded.
    torch.testing.assert_close(DISTANCES["cosine"]()(z, z).double().sqrt(), wanted.sqrt(), rtol=BOUND, atol=3e-7)


def test_similarities_of_lengths_below_one_have_pair_weights() -> None:
    distance = DISTANCES["euclidean"]()
    z = clusters(8, 1e-4, 0.0, 1.0)
    found = distance(z, z)
    assert torch.equal(distance.slope(found) > 0, loop(z.double(), 2) > 0)
