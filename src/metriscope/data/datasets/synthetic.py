"""Gaussian classes around centres on a sphere: the synthetic data of [CT] arXiv:2510.02161."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.data.examples import Examples, Source
from metriscope.parts import judged
from metriscope.seeds import generator


@judged
def load(
    classes: Annotated[int, Field(ge=2)] = 10,
    per_class: Annotated[int, Field(ge=1)] = 500,
    dimension: Annotated[int, Field(ge=2)] = 64,
    intra: Annotated[float, Field(ge=0)] = 4.0,
    inter: Annotated[float, Field(gt=0)] = 1.0,
    project: bool = False,
    data_seed: int = 0,
) -> Source:
    """Vectors float32 (N, dimension) of classes with given variances, before any projection.

    Args:
        classes: number of classes, at least 2.
        per_class: vectors per class, in each of train and test, which share their class centres; at least 1.
        dimension: dimension of the vectors, at least 2.
        intra: expected mean squared distance of a vector to its class centre, at least 0.
        inter: mean squared distance of the class centres to their mean, met exactly; above 0.
        project: put every vector on the unit sphere afterwards.
        data_seed: seed of the data, independent of the seed of the run.
    """
    centres = torch.randn(classes, dimension, generator=generator(data_seed, "synthetic-centres"), dtype=torch.float64)
    centres = centres / centres.norm(dim=1, keepdim=True)
    spread = (centres - centres.mean(0)).square().sum(1).mean()
    centres = centres * (inter / spread).sqrt()

    def draw(part: int) -> Examples:
        labels = torch.arange(classes).repeat_interleave(per_class)
        source = generator(data_seed, "synthetic-noise", part)
        noise = torch.randn(len(labels), dimension, generator=source, dtype=torch.float64)
        vectors: Tensor = centres[labels] + noise * (intra / dimension) ** 0.5
        if project:
            vectors = vectors / vectors.norm(dim=1, keepdim=True)
        return Examples(vectors.float(), labels, tuple(f"class {c}" for c in range(classes)))

    return Source(train=draw(0), test=draw(1))
