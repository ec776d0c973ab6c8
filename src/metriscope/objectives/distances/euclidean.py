"""Euclidean distance, plain and squared; see :mod:`metriscope.objectives.distances.close` for its precision."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from metriscope.objectives.distances.base import Distance, precise
from metriscope.objectives.distances.close import Pairs, pull_close, resolve
from metriscope.objectives.numerics import equal, squares


def _measure(anchors: Tensor, references: Tensor, squared: bool) -> Tensor:
    with torch.autocast(anchors.device.type, enabled=False):
        others = squares(references)
        own = others if anchors is references else squares(anchors)
        distances = torch.addmm(others, anchors, references.T, alpha=-2)
        distances.add_(own.unsqueeze(1)).clamp_min_(0)
    resolve(anchors, references, distances, own)
    return distances if squared else distances.sqrt_()


class _Euclidean(torch.autograd.Function):
    """||a - b|| or its square, keeping only the result for the backward pass; the gradient at 0 is 0."""

    @staticmethod
    def forward(ctx: Any, anchors: Tensor, references: Tensor, squared: bool) -> Tensor:
        distances = _measure(anchors, references, squared)
        ctx.squared = squared
        ctx.save_for_backward(anchors, references, distances)
        return distances

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        anchors, references, distances = ctx.saved_tensors
        weights = grad.clone() if ctx.squared else _over(grad, distances)
        apart = list(pull_close(anchors, references, distances, weights, 2 if ctx.squared else 1))
        factor = 2 if ctx.squared else 1
        by_anchors = by_references = None
        if ctx.needs_input_grad[0]:
            by_anchors = _by_anchors(anchors, references, weights)
            for pairs, by in apart:
                by_anchors.index_add_(0, pairs.anchors, by, alpha=-1)
            by_anchors.mul_(factor)
        if ctx.needs_input_grad[1]:
            by_references = _by_anchors(references, anchors, weights.T)
            for pairs, by in apart:
                by_references.index_add_(0, pairs.references, by)
            by_references.mul_(factor)
        return by_anchors, by_references, None


def _over(slopes: Tensor, distances: Tensor) -> Tensor:
    """slopes / distances, 0 where the distance is 0."""
    zero = equal(distances, 0.0)
    quotients = slopes / (distances + zero)
    return quotients.sub_(zero.mul_(slopes))


def _by_anchors(anchors: Tensor, references: Tensor, weights: Tensor) -> Tensor:
    """sum_j w_ij (a_i - r_j) for each anchor (r, D), with the weights (r, R)."""
    with torch.autocast(anchors.device.type, enabled=False):
        return (weights.sum(1, keepdim=True) * anchors).addmm_(weights, references, alpha=-1)


def _euclidean(anchors: Tensor, references: Tensor, squared: bool) -> Tensor:
    if not torch.is_grad_enabled():
        return _measure(anchors, references, squared)
    if references is anchors:
        # Compilers refuse one tensor as two inputs of a custom function.
        references = references.view_as(references)
    result: Tensor = _Euclidean.apply(anchors, references, squared)
    return result


# Embeddings count as far from the origin where the square of their mean exceeds their variance by this factor.
_FAR = 64.0


def _centred(anchors: Tensor, others: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """All rows with the anchors' mean moved to the origin, if they lie far from it, where squares lose all digits.

    Distances depend on differences alone, and a difference of numbers that are close to one another is exact.
    """
    with torch.no_grad():
        mean = anchors.mean(0)
        lengths = torch.linalg.vector_norm(mean), torch.linalg.vector_norm(anchors) / max(1, len(anchors)) ** 0.5
    # The mean of all squares is the square of the mean, and the variance.
    if anchors.device.type == "cpu" and not torch.compiler.is_compiling():
        offset, size = (float(length) for length in lengths)
        far = offset > (1 + 1 / _FAR) ** -0.5 * size
        return tuple(rows - mean for rows in (anchors, *others)) if far else (anchors, *others)
    mean = mean.masked_fill(lengths[0] <= (1 + 1 / _FAR) ** -0.5 * lengths[1], 0)
    return tuple(rows - mean for rows in (anchors, *others))


class _Flat(Distance):
    differences = True
    power: ClassVar[int]

    def prepare(self, anchors: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        return _centred(precise(anchors), [precise(rows) for rows in others])

    def pull_close(
        self, anchors: Tensor, references: Tensor, distances: Tensor, products: Tensor
    ) -> Iterator[tuple[Pairs, Tensor]]:
        return pull_close(anchors, references, distances, products, self.power)

    def similarities(self, anchors: Tensor, references: Tensor) -> Tensor:
        """1 - d^2 / 2, without a root."""
        with torch.autocast(anchors.device.type, enabled=False):
            own, others = squares(anchors) / 2, squares(references) / 2
            return torch.addmm(1 - others, anchors, references.T).sub_(own.unsqueeze(1)).clamp_max_(1)


class SquaredEuclidean(_Flat):
    """d = ||a - b||_2^2, the distance of the triplet hinge in [CT] (arXiv:2510.02161)."""

    name = "squared_euclidean"
    power = 2

    def block(self, anchors: Tensor, references: Tensor) -> Tensor:
        return _euclidean(anchors, references, squared=True)

    def products(self, distances: Tensor, slopes: Tensor) -> Tensor:
        return slopes.mul_(-2)

    def slope(self, distances: Tensor) -> Tensor:
        return torch.full_like(distances, 2)

    def from_similarity_(self, weights: Tensor, distances: Tensor) -> Tensor:
        return weights.mul_(-0.5)

    def to_euclidean(self, distances: Tensor) -> Tensor:
        return distances.sqrt()

    def to_squared_euclidean(self, distances: Tensor) -> Tensor:
        return distances

    def from_squared_euclidean(self, squared: Tensor) -> Tensor:
        return squared

    def similarity(self, distances: Tensor) -> Tensor:
        return 1 - distances / 2


class Euclidean(_Flat):
    """d = ||a - b||_2, the plain distance of most libraries."""

    name = "euclidean"
    power = 1

    def block(self, anchors: Tensor, references: Tensor) -> Tensor:
        return _euclidean(anchors, references, squared=False)

    def products(self, distances: Tensor, slopes: Tensor) -> Tensor:
        return _over(slopes, distances).neg_()

    def slope(self, distances: Tensor) -> Tensor:
        # Pairs that coincide have no direction: the pole of the slope there counts as 0.
        return distances.reciprocal().masked_fill_(distances == 0, 0)

    def from_similarity_(self, weights: Tensor, distances: Tensor) -> Tensor:
        return weights.mul_(distances).neg_()

    def to_euclidean(self, distances: Tensor) -> Tensor:
        return distances

    def to_squared_euclidean(self, distances: Tensor) -> Tensor:
        return distances * distances

    def from_squared_euclidean(self, squared: Tensor) -> Tensor:
        return squared.sqrt()

    def similarity(self, distances: Tensor) -> Tensor:
        return 1 - distances.square() / 2
