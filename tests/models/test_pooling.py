from typing import Any

import pytest
import torch

from metriscope.errors import InputError
from metriscope.models.pooling import Pooling


def reference(kind: str, values: list[float], p: float = 3.0) -> float:
    if kind == "gem":
        return float((sum(max(v, 1e-6) ** p for v in values) / len(values)) ** (1 / p))
    return max(values) if kind == "max" else sum(values) / len(values)


@pytest.mark.parametrize("kind", ["avg", "max", "gem"])
@pytest.mark.parametrize(("positions", "keepdim"), [((2, 3), False), ((2, 3), True), ((1, 2), False), ((1, 2), True)])
def test_agrees_with_a_loop(kind: str, positions: tuple[int, int], keepdim: bool) -> None:
    maps = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    pool = Pooling(kind, positions, keepdim).double()
    channels_first = maps if positions == (2, 3) else maps.permute(0, 3, 1, 2)
    expected = torch.tensor(
        [[reference(kind, channel.flatten().tolist()) for channel in image] for image in channels_first],
        dtype=torch.float64,
    )
    out = pool(maps)
    shape = maps.shape[0], channels_first.shape[1]
    kept = (*shape, 1, 1) if positions == (2, 3) else (shape[0], 1, 1, shape[1])
    assert out.shape == (kept if keepdim else shape)
    torch.testing.assert_close(out.reshape(shape), expected)


def test_gem_lies_between_the_mean_and_the_largest_value_and_learns_its_exponent() -> None:
    maps = torch.rand(2, 3, 4, 4)
    pool = Pooling("gem")
    mean, largest = Pooling("avg")(maps), Pooling("max")(maps)
    assert (mean < pool(maps)).all()
    assert (pool(maps) < largest).all()
    pool(maps).sum().backward()
    assert pool.p.grad is not None
    assert pool.p.grad > 0
    with torch.no_grad():
        pool.p.fill_(1.0)
    torch.testing.assert_close(pool(maps), mean)


def test_gem_of_maps_without_any_activation_has_a_finite_gradient() -> None:
    maps = torch.zeros(2, 3, 4, 4, requires_grad=True)
    pool = Pooling("gem")
    pool(maps).sum().backward()
    assert maps.grad is not None
    assert pool.p.grad is not None
    assert maps.grad.isfinite().all()
    assert pool.p.grad.isfinite()


@pytest.mark.parametrize("kind", ["avg", "max", "gem"])
def test_dtype_is_that_of_the_maps(kind: str) -> None:
    assert Pooling(kind)(torch.rand(2, 3, 4, 4).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("kind", ["mean", "", None])
def test_unknown_kind_is_refused(kind: Any) -> None:
    with pytest.raises(InputError, match="it has to be one of avg, max, gem"):
        Pooling(kind)
