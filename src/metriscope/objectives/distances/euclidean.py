"""Euclidean distance, plain and squared."""

from typing import Any

import torch
from torch import Tensor

from metriscope.objectives.distances.base import Distance, precise


class _Euclidean(torch.autograd.Function):
    """||a - b|| or its square, keeping only the result for the backward pass; the gradient at 0 is 0."""

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, references: Tensor, squared: bool) -> Tensor:
        with torch.autocast(anchors.device.type, enabled=False):
            distances = anchors.square().sum(1, keepdim=True) + references.square().sum(1)
            distances.addmm_(anchors, references.T, alpha=-2).clamp_min_(0)
        if not squared:
            distances.sqrt_()
        ctx.squared = squared
        ctx.save_for_backward(anchors, references, *([] if squared else [distances]))
        return distances

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        anchors, references = ctx.saved_tensors[:2]
        weights, factor = grad, 2
        if not ctx.squared:
            distances = ctx.saved_tensors[2]
            weights, factor = (grad / distances).masked_fill_(distances == 0, 0), 1
        grad_anchors = grad_references = None
        with torch.autocast(anchors.device.type, enabled=False):
            if ctx.needs_input_grad[0]:
                grad_anchors = (weights.sum(1, keepdim=True) * anchors).addmm_(weights, references, alpha=-1)
                grad_anchors.mul_(factor)
            if ctx.needs_input_grad[1]:
                grad_references = (weights.sum(0).unsqueeze(1) * references).addmm_(weights.T, anchors, alpha=-1)
                grad_references.mul_(factor)
        return grad_anchors, grad_references, None


def _euclidean(anchors: Tensor, references: Tensor, squared: bool) -> Tensor:
    if references is anchors:
        # Compilers refuse one tensor as two inputs of a custom function.
        references = references.view_as(references)
    result: Tensor = _Euclidean.apply(precise(anchors), precise(references), squared)
    return result


class Euclidean(Distance):
    """d = ||a - b||_2, the plain distance of most libraries."""

    name = "euclidean"

    def __call__(self, anchors: Tensor, references: Tensor) -> Tensor:
        return _euclidean(anchors, references, squared=False)

    def slope(self, distances: Tensor) -> Tensor:
        # Pairs that coincide up to rounding have no direction: the pole of the slope there counts as 0.
        touching = distances <= 4 * torch.finfo(distances.dtype).eps ** 0.5
        return distances.reciprocal().masked_fill_(touching, 0)

    def from_similarity_(self, weights: Tensor, distances: Tensor) -> Tensor:
        return weights.mul_(distances).neg_()

    def to_euclidean(self, distances: Tensor) -> Tensor:
        return distances

    def similarity(self, distances: Tensor) -> Tensor:
        return 1 - distances.square() / 2


class SquaredEuclidean(Distance):
    """d = ||a - b||_2^2, the distance of the triplet hinge in [CT] (arXiv:2510.02161)."""

    name = "squared_euclidean"

    def __call__(self, anchors: Tensor, references: Tensor) -> Tensor:
        return _euclidean(anchors, references, squared=True)

    def slope(self, distances: Tensor) -> Tensor:
        return torch.full_like(distances, 2)

    def from_similarity_(self, weights: Tensor, distances: Tensor) -> Tensor:
        return weights.mul_(-0.5)

    def to_euclidean(self, distances: Tensor) -> Tensor:
        return distances.sqrt()

    def similarity(self, distances: Tensor) -> Tensor:
        return 1 - distances / 2
