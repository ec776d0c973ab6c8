"""The batch of the worked values of mixtures: six unit vectors in the plane, given by their angles."""

import math

import torch
from torch import Tensor

from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.base import Distance
from metriscope.objectives.samples import Samples

DEGREES, LABELS = [0, 30, 40, 80, 120, 200], [0, 0, 1, 1, 2, 2]


def angles(degrees: list[int] = DEGREES) -> Tensor:
    return torch.tensor([math.radians(t) for t in degrees], dtype=torch.float64, requires_grad=True)


def compared(distance: Distance, degrees: list[int] = DEGREES, labels: list[int] = LABELS) -> tuple[Tensor, Comparison]:
    """The angles, a leaf, and the comparison of the batch with itself."""
    t = angles(degrees)
    batch = Samples.of(torch.stack([t.cos(), t.sin()], 1), torch.tensor(labels))
    return t, Comparison(batch, [Segment(batch)], distance)


def hold(value: Tensor, t: Tensor, wanted: float, slopes: list[float] | None = None) -> None:
    """The value, and its derivatives by the angles, to the digits that are given."""
    torch.testing.assert_close(value.item(), wanted, rtol=0, atol=2e-12)
    if slopes is not None:
        (found,) = torch.autograd.grad(value, t)
        torch.testing.assert_close(found, torch.tensor(slopes, dtype=torch.float64), rtol=0, atol=2e-10)
