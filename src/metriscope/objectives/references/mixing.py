"""Synthetic samples on segments between two samples of a batch."""

from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.distances.base import precise
from metriscope.objectives.samples import Samples
from metriscope.unit import unit_rows


class Mixed(NamedTuple):
    """Points on segments.

    Attributes:
        embeddings: (S, D), attached to the graph.
        whole: (S,) bool, False where two opposite ends leave no direction; such a point is 0 and has no gradient.
        affine: (S, F) detached, the same mixtures in the space that the affinity of pairs comes from, if there is one.
    """

    embeddings: Tensor
    whole: Tensor
    affine: Tensor | None


def mix(batch: Samples, first: Tensor, second: Tensor, share: Tensor, spherical: bool) -> Mixed:
    """l z_first + (1 - l) z_second, O(S D), in float32 at least.

    Args:
        batch: with embeddings (B, D).
        first, second: (S,) int64, rows of the batch.
        share: l, (S,), from 0 to 1.
        spherical: whether points are L2-normalised, as the embeddings are.
    """
    z, share = precise(batch.embeddings), share.unsqueeze(1)
    points = _between(z, first, second, share)
    whole = torch.ones_like(first, dtype=torch.bool)
    if spherical:
        with torch.no_grad():
            # Rounding alone decides the direction of a shorter one.
            whole = torch.linalg.vector_norm(points, dim=1).square() > torch.finfo(z.dtype).eps
        points = unit_rows(points * whole.unsqueeze(1))
    affine = batch.affine
    if affine is not None:
        affine = _between(unit_rows(precise(affine)), first, second, share)
    return Mixed(points, whole, affine)


def _between(rows: Tensor, first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    share = share.to(rows.dtype)
    return share * rows.index_select(0, first) + (1 - share) * rows.index_select(0, second)
