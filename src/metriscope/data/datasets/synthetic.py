"""Gaussian classes around centres on a sphere: the synthetic data of [CT] arXiv:2510.02161."""

import torch
from torch import Tensor

from metriscope.data.examples import Examples, Source
from metriscope.errors import InputError
from metriscope.seeds import generator


def load(
    classes: int = 10,
    per_class: int = 500,
    dimension: int = 64,
    intra: float = 4.0,
    inter: float = 1.0,
    project: bool = False,
    data_seed: int = 0,
) -> Source:
    """Vectors float32 (N, dimension) of classes with given variances, before any projection.

    Args:
        classes: number of classes.
        per_class: vectors per class, in each of train and test, which share their class centres.
        dimension: dimension of the vectors.
        intra: expected mean squared distance of a vector to its class centre.
        inter: mean squared distance of the class centres to their mean, met exactly.
        project: put every vector on the unit sphere afterwards.
        data_seed: seed of the data, independent of the seed of the run.

    Raises:
        InputError: fewer than 2 classes, or a size or variance out of range.
    """
    if classes < 2 or per_class < 1 or dimension < 2:
        raise InputError(
            f"dataset.classes={classes}, per_class={per_class}, dimension={dimension}: the data need at "
            "least 2 classes, 1 vector per class and 2 dimensions"
        )
    if intra < 0 or inter <= 0:
        raise InputError(f"dataset.intra={intra}, inter={inter}: variances must not be negative, inter must be above 0")
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
