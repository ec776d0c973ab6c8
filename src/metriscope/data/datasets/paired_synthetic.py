"""Pairs of vectors of two modalities that two random linear maps make of one hidden vector: no file is needed."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from metriscope.data.datasets.paired import Sides
from metriscope.data.examples import Examples, Source
from metriscope.data.inputs.paired import PairedVectors
from metriscope.parts import judged
from metriscope.seeds import generator

_Count = Annotated[int, Field(ge=1)]
_Spread = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _two(sizes: Sequence[int]) -> Sequence[int]:
    if len(sizes) != 2:
        raise ValueError
    return sizes


_Sizes = Annotated[
    Sequence[_Count], AfterValidator(_two), Field(description="two whole numbers of at least 1, one for each side")
]


@judged
def load(
    classes: Annotated[int, Field(ge=2)] = 10,
    per_class: _Count = 200,
    test_per_class: _Count | None = None,
    hidden: _Count = 16,
    sizes: _Sizes = (128, 256),
    intra: _Spread = 0.5,
    noise: _Spread = 1.0,
    sides: Sides = ("audio", "visual"),
    data_seed: int = 0,
) -> Source:
    """Pairs (x0, x1) of x_s = A_s h + noise, where h = (mean of the class) + (what the pair has of its own).

    Means are standard normal (H,), what a pair has of its own has a mean square of ``intra`` in each number, and both
    sides of a pair share it. A_s (F_s, H) is normal with variance 1 / H, drawn once, so that a number of A_s h has the
    variance 1 + intra; the noise of each side is its own. Train and test share means and maps.

    Args:
        classes: C, at least 2.
        per_class, test_per_class: pairs of each class in train and in test; None for as many in test.
        hidden: H, numbers of the hidden vector.
        sizes: F_0 and F_1, numbers of a vector of each side.
        intra: variance of a hidden number within a class.
        noise: variance of the noise on each number of a vector.
        sides: names of the two modalities.
        data_seed: seed of the data, independent of the seed of the run.
    """
    means = torch.randn(classes, hidden, generator=generator(data_seed, "paired-means"))
    maps = [
        torch.randn(hidden, size, generator=generator(data_seed, "paired-map", side)) / hidden**0.5
        for side, size in enumerate(sizes)
    ]

    def draw(part: int, each: int) -> Examples:
        labels = torch.arange(classes).repeat_interleave(each)
        own = torch.randn(len(labels), hidden, generator=generator(data_seed, "paired-own", part))
        shared = means[labels] + intra**0.5 * own

        def seen(side: int) -> Tensor:
            source = generator(data_seed, "paired-noise", part, side)
            own_noise = torch.randn(len(labels), sizes[side], generator=source)
            return torch.add(shared @ maps[side], own_noise, alpha=noise**0.5)

        names = tuple(f"class {c}" for c in range(classes))
        return Examples(PairedVectors(seen(0), seen(1), (sides[0], sides[1])), labels, names)

    return Source(train=draw(0, per_class), test=draw(1, test_per_class or per_class))
