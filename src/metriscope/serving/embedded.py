"""Embeddings of images with what is known of each, and the neighbours that a search finds among them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.evaluation.search.neighbors import nearest
from metriscope.evaluation.search.points import Prepared, prepared


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of images, in the order in which these were given.

    Attributes:
        embeddings: (N, D) float32, on the CPU.
        model: digest of the model that made them.
        paths: (N,) where the images are files; None else.
        labels: (N,) names of their folders; None where there are none.
        skipped: images that could not be read, with the reason; they have no row.
        root: the folder that the paths are below; empty where they lead to the files as they are.
    """

    embeddings: Tensor
    model: str
    paths: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    skipped: Sequence[str] = ()
    root: str = ""

    def __len__(self) -> int:
        return len(self.embeddings)

    @cached_property
    def prepared(self) -> Prepared:
        """The embeddings as a search takes them; made once, at the first search."""
        return prepared(self.embeddings)

    def file(self, place: int) -> str | None:
        """The path that leads to the image at a position; None where the images are no files."""
        return None if self.paths is None else os.path.join(self.root, self.paths[place])


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest neighbours of queries in a gallery, nearest first, ties by the lower position.

    Attributes:
        indices: (Q, k) int64, positions in the gallery.
        distances: (Q, k) float32, Euclidean distances of the embeddings.
        gallery: what was searched.
    """

    indices: Tensor
    distances: Tensor
    gallery: Embedded

    @property
    def paths(self) -> list[list[str]]:
        """The paths of the neighbours of each query.

        Raises:
            InputError: the gallery has no paths.
        """
        if self.gallery.paths is None:
            raise InputError("the gallery was no list of files, so that its images have no paths: use indices")
        known = self.gallery.paths
        return [[known[place] for place in row] for row in self.indices.tolist()]


def neighbours(queries: Embedded, gallery: Embedded, k: int) -> Neighbours:
    """The ``k`` nearest of a gallery, or all of a smaller one, for each query: an exact search.

    Where queries and gallery are the same object, an image is no neighbour of itself.

    Raises:
        InputError: ``k`` below 1, an empty gallery, or embeddings of two models.
    """
    if k < 1:
        raise InputError(f"k={k}: it has to be at least 1")
    if not len(gallery):
        raise InputError("the gallery is empty: there is nothing to search")
    if queries.model != gallery.model:
        raise InputError(
            f"the gallery was embedded by another model ({gallery.model[:8]}, and the queries by {queries.model[:8]}): "
            "embed it again with this one"
        )
    alone = queries is gallery
    found = nearest(queries.embeddings, gallery.prepared, min(k, len(gallery)), exclude_self=alone)
    left = queries.embeddings.double()[:, None]
    distances = torch.stack([(left[i] - gallery.embeddings[row].double()).norm(dim=1) for i, row in enumerate(found)])
    return Neighbours(found, distances.float(), gallery)
