"""Cosine distance."""

import torch
from torch import Tensor

from metriscope.objectives.distances.base import Distance, precise
from metriscope.objectives.distances.close import resolve
from metriscope.objectives.numerics import squares
from metriscope.unit import unit_rows


class Cosine(Distance):
    """d = 1 - cos(a, b), between 0 and 2; embeddings need not be normalised.

    Of close directions it is |a - b|^2 / 2 of the unit rows (:mod:`metriscope.objectives.distances.close`), which are
    rounded: their difference has an error of about eps.
    """

    name = "cosine"
    directions = True

    def prepare(self, anchors: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(anchors.device.type, enabled=False):
            return tuple(unit_rows(precise(rows)) for rows in (anchors, *others))

    def block(self, anchors: Tensor, references: Tensor) -> Tensor:
        with torch.autocast(anchors.device.type, enabled=False):
            # Negating the anchors costs B D operations instead of B R, in the backward pass too.
            distances = torch.addmm(anchors.new_ones(()), -anchors, references.T)
        resolve(anchors, references, distances, squares(anchors.detach()), factor=0.5)
        return distances

    def similarities(self, anchors: Tensor, references: Tensor) -> Tensor:
        with torch.autocast(anchors.device.type, enabled=False):
            return anchors @ references.T

    def products(self, distances: Tensor, slopes: Tensor) -> Tensor:
        return slopes.neg_()

    def slope(self, distances: Tensor) -> Tensor:
        return torch.ones_like(distances)

    def from_similarity_(self, weights: Tensor, distances: Tensor) -> Tensor:
        return weights.neg_()

    def to_euclidean(self, distances: Tensor) -> Tensor:
        return (2 * distances).clamp_min(0).sqrt()

    def to_squared_euclidean(self, distances: Tensor) -> Tensor:
        return 2 * distances

    def from_squared_euclidean(self, squared: Tensor) -> Tensor:
        return squared / 2

    def similarity(self, distances: Tensor) -> Tensor:
        return 1 - distances
