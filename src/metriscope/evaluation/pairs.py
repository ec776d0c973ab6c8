"""Measures of the pairs of an evaluated set, by blocks of rows: the N x N matrix is never held.

A positive pair are two samples of one class, a negative pair two of different classes; no sample is paired with itself.
s is the cosine similarity and d the Euclidean distance of the embeddings scaled to unit length, d^2 = 2 - 2 s. Sums run
in float64. Where there is no pair to take it over, a measure is NaN.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from metriscope.evaluation.verification import scores
from metriscope.evaluation.verification.curve import PairCurve
from metriscope.evaluation.verification.of_set import Verification
from metriscope.evaluation.verification.scores import EXCLUDED, counters, directions, places

BLOCK_PAIRS = 2**22
"""So many pairs are looked at a time, about 150 MB."""


def row_blocks(count: int) -> Iterator[slice]:
    """The rows of a square matrix, as many at a time as have :data:`BLOCK_PAIRS` entries, at least one."""
    step = max(1, BLOCK_PAIRS // max(count, 1))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))


def alignment(embeddings: Tensor, labels: Tensor) -> float:
    """Mean of d^2 over all positive pairs (Wang & Isola, arXiv:2005.10242, with alpha = 2).

    Formula verified in the authors' code (ssnl/align_uniform), where positives are two views of an image; here they
    are two samples of a class. With n samples of a class, mean m, the sum over its pairs is n sum ||z - m||^2, so the
    cost is O(N D). It is 2 (1 - :func:`tolerance`); with classes of one size, twice ``cosine_intra``, which weighs
    classes alike while this weighs pairs alike.

    Args:
        embeddings: (N, D).
        labels: (N,) integers.
    """
    z = directions(embeddings)
    places, count, total = _classes(z, labels)
    scatter = (z - (total / count[:, None])[places]).square().sum(1)
    return float((count[places] * scatter).sum() / _pairs(count))


def tolerance(embeddings: Tensor, labels: Tensor) -> float:
    """Mean of s over all positive pairs (Wang & Liu, arXiv:2012.09740).

    From a secondary source, which writes E[s 1(same class)]: that scales with how frequent the classes are, so this is
    the mean given that the classes are the same. O(N D), from the sums of classes.

    Args:
        embeddings: (N, D).
        labels: (N,) integers.
    """
    z = directions(embeddings)
    _, count, total = _classes(z, labels)
    return float((total.square().sum() - z.square().sum()) / 2 / _pairs(count))


def pair_auc(embeddings: Tensor, labels: Tensor) -> float:
    """Share of (positive pair, negative pair) in which the positive pair has the larger s, ties counted as half.

    The area under the ROC curve of verification with one threshold for all pairs, which the loss of arXiv:2510.00137
    bounds; of all pairs, with similarities as multiples of 1 / GRID, see
    :class:`metriscope.evaluation.verification.of_set.Verification`.

    Args:
        embeddings: (N, D).
        labels: (N,) integers.
    """
    return Verification(embeddings, labels).curve.auc


def pair_auc_hard(embeddings: Tensor, labels: Tensor, k: int = 500) -> float:
    """:func:`pair_auc` where each sample brings all its positives, and of its negatives the ``k`` of the largest s.

    The protocol of arXiv:2510.00137 (read in the paper): per query, pooled over queries. Every sample is a query, one
    without positives as well, so that a ``k`` of N or more gives :func:`pair_auc`. O(N^2 (D + log k)) time.

    Args:
        embeddings: (N, D).
        labels: (N,) integers.
        k: number of negatives of a sample; all where it has fewer.
    """
    z = directions(embeddings)
    positive, negative = counters(z.device), counters(z.device)
    for rows in row_blocks(len(z)):
        found = places((z[rows] * scores.GRID) @ z.T)
        same = labels[rows, None] == labels
        hardest = found.masked_fill(same, EXCLUDED).topk(min(k, len(z)), sorted=False).values
        _count(negative, hardest[hardest != EXCLUDED])
        same.diagonal(rows.start).fill_(False)
        _count(positive, found[same])
    return PairCurve(positive, negative).auc


def _classes(z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The class of each sample (N,) from 0 on, and of each class the count (C,) and the sum (C, D)."""
    _, places, count = torch.unique(labels, return_inverse=True, return_counts=True)
    return places, count.double(), z.new_zeros(len(count), z.shape[1]).index_add_(0, places, z)


def _pairs(count: Tensor) -> Tensor:
    """The number of positive pairs; NaN for none."""
    pairs = (count * (count - 1)).sum() / 2
    return pairs.where(pairs > 0, math.nan)


def _count(counts: Tensor, found: Tensor) -> None:
    counts.scatter_add_(0, found, torch.ones_like(found))
