"""Dot products as similarities, for losses that compare rows of their own making."""

import torch
from torch import Tensor

from metriscope.objectives.distances.base import Distance


class DotProducts(Distance):
    """d = -a . b of rows as they are; no choice of a config, since longer samples would be closer to all others."""

    name = "dot_products"

    def block(self, anchors: Tensor, references: Tensor) -> Tensor:
        return self.similarities(-anchors, references)

    def similarities(self, anchors: Tensor, references: Tensor) -> Tensor:
        with torch.autocast(anchors.device.type, enabled=False):
            return anchors @ references.T

    def products(self, distances: Tensor, slopes: Tensor) -> Tensor:
        return slopes.neg_()

    def similarity(self, distances: Tensor) -> Tensor:
        return -distances

    def from_similarity_(self, weights: Tensor, distances: Tensor) -> Tensor:
        return weights.neg_()

    def to_squared_euclidean(self, distances: Tensor) -> Tensor:
        return 2 + 2 * distances
