"""Points of a space of constant negative curvature, whose neighbours are found by weighted Euclidean distances."""

from typing import NamedTuple

import torch
from torch import Tensor

LARGEST_RADIUS = 15.0
"""The largest sqrt(c) ||u||: beyond it squares of what is computed of it leave the range of float32."""


class Curved(NamedTuple):
    """The Poincare ball of curvature -c, in which embeddings u are tangent vectors at the origin.

    With x and y in the ball of radius 1 and a, b = sqrt(c) ||u||, sqrt(c) ||v||, the distance d of
    ``distance=hyperbolic`` obeys

        sinh(sqrt(c) d / 2)^2 = ||x - y||^2 cosh(a)^2 cosh(b)^2,

    so Euclidean distances in the ball, times a factor of each of both points, rank as d does, and are symmetric.

    >>> import torch
    >>> from metriscope.evaluation.search.neighbors import nearest
    >>> u = torch.tensor([[0.1, 0.0], [2.3, 0.0], [1.5, 1.0], [0.0, -1.0]])
    >>> nearest(u, u, 1, exclude_self=True, space=Curved(0.1, 2.3)).squeeze(1).tolist()
    [3, 2, 1, 0]

    Attributes:
        curvature: c.
        clip: the length to which longer embeddings are scaled; None for none.
    """

    curvature: float
    clip: float | None = None

    def points(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D) -> points x of the ball, (N, D) float64, and factors cosh(a)^2, (N, 1) float32."""
        u, root = embeddings.detach().double(), self.curvature**0.5
        lengths = torch.linalg.vector_norm(u, dim=1, keepdim=True)
        radii = (root * lengths).clamp_max(LARGEST_RADIUS if self.clip is None else root * self.clip)
        x = u * (radii.tanh() / lengths.clamp_min(torch.finfo(u.dtype).tiny))
        return x, radii.cosh().square().float()
