"""How well an embedding tells samples of classes that training has not seen from samples of classes that it has."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.evaluation.pairs import BLOCK_PAIRS
from metriscope.evaluation.search.neighbors import nearest

EVERY = 5
"""Of so many samples of a class, one is held out where there is no other sample of it."""


def auroc(inside: Tensor, outside: Tensor) -> float:
    """The share of (inside, outside) in which the latter is the larger, ties as half: the area under the ROC curve.

    O((N + M) log N) time, exact.

    >>> auroc(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 4.0]))
    0.75

    Args:
        inside: (N,), the scores of samples of known classes.
        outside: (M,), those of others, which are expected to be larger.

    Returns:
        From 0 to 1, 0.5 by chance; NaN where either is empty.
    """
    if not len(inside) or not len(outside):
        return math.nan
    ordered = inside.sort().values
    won = torch.searchsorted(ordered, outside) + torch.searchsorted(ordered, outside, right=True)
    return int(won.sum()) / (2 * len(inside) * len(outside))


class ClassModel(NamedTuple):
    """Classes as normal distributions with a covariance that they share.

    Attributes:
        whitening: (D, D) float64, W with W^T W the inverse of the covariance.
        means: (C, D) float64, the whitened means of classes.
        shrinkage: how far the covariance was moved towards a multiple of the identity, from 0 to 1.
    """

    whitening: Tensor
    means: Tensor
    shrinkage: float

    def distances(self, embeddings: Tensor) -> Tensor:
        """(N, D) -> (N,) float64, min_c (z - mu_c)^T S^-1 (z - mu_c), in O(N D (D + C)) and bounded memory."""
        found = []
        lengths = self.means.square().sum(1)
        for rows in torch.split(embeddings, max(1, BLOCK_PAIRS // max(self.means.shape))):
            z = rows.double() @ self.whitening.T
            products = torch.addmm(lengths, z, self.means.T, alpha=-2)
            found.append((products.amin(1) + z.square().sum(1)).clamp_min_(0))
        return torch.cat(found)


def class_model(embeddings: Tensor, labels: Tensor) -> ClassModel:
    """Means of classes and the covariance of samples around the mean of their class.

    Lee et al., arXiv:1807.03888 (from memory), with S = sum_i (z_i - mu_y)(z_i - mu_y)^T / N shrunk as Ledoit and Wolf
    propose (J. Multivariate Analysis 88, 2004, as in scikit-learn's ``ledoit_wolf``): (1 - a) S + a (tr S / D) I with
    the a of least expected error. Embeddings of few samples or of collapsed classes have a singular S, and of many
    samples a is about 0. Where all samples lie at the mean of their class, S is the identity. By blocks, in float64:
    O(N D^2 + D^3) time.

    Args:
        embeddings: (N, D), at least one.
        labels: (N,) integers.
    """
    _, places, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    count, size = embeddings.shape
    blocks = list(torch.split(torch.arange(count, device=labels.device), max(1, BLOCK_PAIRS // size)))
    means = embeddings.new_zeros(len(counts), size, dtype=torch.float64)
    for rows in blocks:
        means.index_add_(0, places[rows], embeddings[rows].double())
    means /= counts.unsqueeze(1)
    scatter, fourth = means.new_zeros(size, size), 0.0
    for rows in blocks:
        apart = embeddings[rows].double() - means[places[rows]]
        scatter.addmm_(apart.T, apart)
        fourth += float(apart.square().sum(1).square().sum())
    covariance = scatter / count
    identity = torch.eye(size, dtype=torch.float64, device=labels.device)
    level = float(covariance.trace()) / size
    if level <= 0:
        return ClassModel(identity, means, 1.0)
    spread = float((covariance - level * identity).square().sum())
    error = (fourth / count - float(covariance.square().sum())) / count
    shrinkage = min(1.0, error / spread) if spread > 0 else 1.0
    shrunk = (1 - shrinkage) * covariance + shrinkage * level * identity
    whitening = torch.linalg.solve_triangular(torch.linalg.cholesky(shrunk), identity, upper=False)
    return ClassModel(whitening, means @ whitening.T, shrinkage)


def distance_to_nearest(embeddings: Tensor, references: Tensor) -> Tensor:
    """(N, D) and (M, D) -> (N,) float64, the squared Euclidean distance to the nearest reference.

    Exact, by the search for neighbours in bounded memory: O(N M D) time.
    """
    found = references[nearest(embeddings, references, 1).squeeze(1)]
    return (embeddings.double() - found.double()).square().sum(1)


def held_out(labels: Tensor) -> Tensor:
    """(N,) bool: every fifth sample of each class, in the order of the samples; none of classes of fewer than five.

    >>> held_out(torch.tensor([7, 3, 7, 7, 7, 3, 7, 7])).nonzero().flatten().tolist()
    [6]
    """
    ordered, order = labels.sort(stable=True)
    place = torch.arange(len(labels), device=labels.device) - torch.searchsorted(ordered, ordered)
    found = torch.zeros_like(labels, dtype=torch.bool)
    found[order] = place % EVERY == EVERY - 1
    return found


def unseen_auroc(references: Tensor, labels: Tensor, inside: Tensor, outside: Tensor) -> tuple[float, float]:
    """AUROC of "is this a sample of no class of the references?", by Mahalanobis distance and by nearest reference.

    A sample is of an unseen class the sooner, the larger :meth:`ClassModel.distances`, or
    :func:`distance_to_nearest`, is. Distances are compared in float32, the precision of embeddings, so that copies of
    a sample tie.

    Args:
        references: (M, D), samples of known classes.
        labels: (M,) their classes.
        inside: (N, D), further samples of these classes.
        outside: (K, D), samples of others.

    Returns:
        Both, from 0 to 1 and 0.5 by chance; NaN where a set is empty.
    """
    if not len(references) or not len(inside) or not len(outside):
        return math.nan, math.nan
    model = class_model(references, labels)
    by_model = auroc(*(model.distances(z).float() for z in (inside, outside)))
    return by_model, auroc(*(distance_to_nearest(z, references).float() for z in (inside, outside)))
