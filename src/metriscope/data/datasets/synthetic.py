"""Gaussian classes around centres on a sphere: the synthetic data of [CT] arXiv:2510.02161."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.data.examples import Examples, Source
from metriscope.errors import InputError
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
    superclasses: Annotated[int, Field(ge=2)] | None = None,
    inter_within: Annotated[float, Field(gt=0, lt=1)] | None = None,
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
        superclasses: number of coarse classes, each of which holds equally many classes, at least 2: class ``c`` lies
            in superclass ``c * superclasses // classes``, and its centre lies around that of its superclass. None:
            classes have no superclasses.
        inter_within: the share of ``inter`` that lies between the classes of a superclass, above 0 and below 1; the
            rest lies between superclasses. Both are met exactly. None: 0.2.

    Raises:
        InputError: classes cannot be divided among the superclasses, or a share is given without superclasses.

    >>> source = load(classes=6, superclasses=3, per_class=1, dimension=8, intra=0)
    >>> source.train.superclasses[:4]
    ('superclass 0', 'superclass 0', 'superclass 1', 'superclass 1')
    """
    if superclasses is None and inter_within is not None:
        raise InputError(f"dataset.inter_within={inter_within} has no effect without dataset.superclasses: set both")
    if superclasses is not None and (classes % superclasses or classes < 2 * superclasses):
        raise InputError(
            f"dataset.superclasses={superclasses}: {classes} classes cannot be divided among them, with as many in "
            "each and at least 2; set dataset.classes to a multiple"
        )
    centres = torch.randn(classes, dimension, generator=generator(data_seed, "synthetic-centres"), dtype=torch.float64)
    centres = centres / centres.norm(dim=1, keepdim=True)
    spread = (centres - centres.mean(0)).square().sum(1).mean()
    centres = centres * (inter / spread).sqrt()
    names = tuple(f"class {c}" for c in range(classes))
    above = None
    if superclasses is not None:
        within = 0.2 if inter_within is None else inter_within
        centres = _below(superclasses, centres, inter, within, generator(data_seed, "synthetic-superclasses"))
        above = tuple(f"superclass {c * superclasses // classes}" for c in range(classes))

    def draw(part: int) -> Examples:
        labels = torch.arange(classes).repeat_interleave(per_class)
        source = generator(data_seed, "synthetic-noise", part)
        noise = torch.randn(len(labels), dimension, generator=source, dtype=torch.float64)
        vectors: Tensor = centres[labels] + noise * (intra / dimension) ** 0.5
        if project:
            vectors = vectors / vectors.norm(dim=1, keepdim=True)
        return Examples(vectors.float(), labels, names, above)

    return Source(train=draw(0), test=draw(1))


def _below(count: int, directions: Tensor, inter: float, within: float, source: torch.Generator) -> Tensor:
    """Class centres (C, D) in ``directions`` from those of their ``count`` superclasses."""
    size = directions.shape[1]
    coarse = torch.randn(count, size, generator=source, dtype=torch.float64)
    coarse = coarse / coarse.norm(dim=1, keepdim=True)
    coarse = coarse * (inter * (1 - within) / (coarse - coarse.mean(0)).square().sum(1).mean()).sqrt()
    fine = directions.view(count, -1, size)
    fine = fine - fine.mean(1, keepdim=True)
    fine = fine * (inter * within / fine.square().sum(2).mean()).sqrt()
    centres: Tensor = (coarse[:, None] + fine).flatten(0, 1)
    return centres
