"""Cosine distance."""

import torch
from torch import Tensor

from metriscope.objectives.distances.base import Distance, precise
from metriscope.unit import unit_rows


class Cosine(Distance):
    """d = 1 - cos(a, b), between 0 and 2; embeddings need not be normalised."""

    name = "cosine"

    def __call__(self, anchors: Tensor, references: Tensor) -> Tensor:
        with torch.autocast(anchors.device.type, enabled=False):
            directions = unit_rows(precise(anchors))
            others = directions if references is anchors else unit_rows(precise(references))
            # Negating the anchors costs B D operations instead of B R, in the backward pass too.
            return torch.addmm(directions.new_ones(()), -directions, others.T)

    def slope(self, distances: Tensor) -> Tensor:
        return torch.ones_like(distances)

    def from_similarity_(self, weights: Tensor, distances: Tensor) -> Tensor:
        return weights.neg_()

    def to_euclidean(self, distances: Tensor) -> Tensor:
        return (2 * distances).clamp_min(0).sqrt()

    def similarity(self, distances: Tensor) -> Tensor:
        return 1 - distances
