"""Distances between anchors (B, D) and references (R, D): always a (B, R) matrix in which smaller means closer.

Each distance is computed in float32 at least, whatever the precision of training: losses are functions of differences
of distances, of which bfloat16 keeps two digits.
"""

from typing import ClassVar

import torch
from torch import Tensor

from metriscope.parts import PartType


def precise(embeddings: Tensor) -> Tensor:
    """Embeddings in float32 at least."""
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()


class Distance(metaclass=PartType):
    """Base class. ``name`` is the config choice."""

    name: ClassVar[str]

    # The constructor of object seems to take anything.
    def __init__(self) -> None:
        pass

    def __call__(self, anchors: Tensor, references: Tensor) -> Tensor:
        """(B, D) and (R, D) -> (B, R), float32 or float64."""
        raise NotImplementedError

    def slope(self, distances: Tensor) -> Tensor:
        """|d distance / d s| (B, R), s the dot product: the factor from dL/d(distance) to pair weights dL/ds.

        It puts all losses on the scale of general pair weighting (arXiv:1904.06627), whatever their distance.
        """
        raise NotImplementedError

    def from_similarity_(self, weights: Tensor, distances: Tensor) -> Tensor:
        """Turns dL/d(similarity), in place, into dL/d(distance) at these distances; see :meth:`similarity`."""
        raise NotImplementedError

    def to_euclidean(self, distances: Tensor) -> Tensor:
        """The Euclidean distance of L2-normalised embeddings at these distances (B, R)."""
        raise NotImplementedError

    def similarity(self, distances: Tensor) -> Tensor:
        """The cosine similarity of L2-normalised embeddings at these distances (B, R), differentiable.

        For embeddings that are not normalised, 1 - d^2 / 2 with d the Euclidean distance.
        """
        raise NotImplementedError
