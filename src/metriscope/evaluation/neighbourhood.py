"""The ICNN score: how much closer the neighbours of a sample are where they have its class."""

import math

import torch
from torch import Tensor

# As in the authors' code.
_EPSILON = 1e-7
# Squares of differences of float32 numbers, as a share of the squares of the numbers, that are rounding alone.
_ROUNDING = 1e-13


def icnn_score(embeddings: Tensor, labels: Tensor, k: int = 4, memory_mb: float = 256) -> float:
    """(lambda + gamma) / 2 of the k nearest neighbours of each sample, the inter- and intra-class score.

    Mendez-Ruiz et al., SuSana Distancia, arXiv:2305.09062 (verified in the authors' code, maumruiz/FSL-Loss; the
    equations of the paper were not read). With d_ij the Euclidean distance of sample i to its j-th neighbour and a_i
    that to the nearest sample of another class:

    - r_ij = d_ij / a_i, over max(1, the largest r of i). ``same`` is 1 minus the mean, over samples with a neighbour of
      their class, of the mean r of these neighbours, or 1 without any.
    - ``other`` is the mean, over samples with a neighbour of another class, of the mean distance of these neighbours,
      over the largest such distance of all; 1 without any.
    - lambda = (same + other) / 2, and gamma is the mean share of neighbours of the own class.

    From 0 to 1, higher where classes are compact and apart. r is 1 where a_i is 0; the authors look for a_i among a few
    neighbours, here among all samples. Of n samples at most n - 2 neighbours are looked at, and then gamma is 1.
    O(N^2 D) time.

    Args:
        embeddings: (N, D).
        labels: (N,) integers.
        k: how many neighbours, at least 1.
        memory_mb: bound on the distances that are held at once, in MiB.

    Returns:
        the score; NaN of fewer than three samples.
    """
    count = len(labels)
    if count < 3:
        return math.nan
    capped = k + 2 >= count
    k = count - 2 if capped else k
    step = max(1, int(memory_mb * 2**20 / (4 * 8 * count)))
    found = [_neighbours(embeddings, labels, slice(start, start + step), k) for start in range(0, count, step)]
    near, own, nearest_other = (torch.cat(column) for column in zip(*found, strict=True))

    ratios = torch.where(nearest_other == 0, 1, near / (nearest_other + _EPSILON))
    ratios = ratios / ratios.amax(1, keepdim=True).clamp_min(1)
    same = 1 - _mean_of_means(ratios, own)
    others = near.masked_fill(own, 0)
    apart = 1.0 if bool(own.all()) else _mean_of_means(others / (others.max() + _EPSILON), ~own)
    gamma = 1.0 if capped else float(own.double().mean())
    return ((same + apart) / 2 + gamma) / 2


def _neighbours(embeddings: Tensor, labels: Tensor, rows: slice, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of some samples: distances (r, k), which are of the own class, and (r, 1) to the nearest of another class."""
    every = embeddings.double()
    lengths = every.square().sum(1)
    scale = lengths[rows].unsqueeze(1) + lengths
    squared = torch.addmm(scale, every[rows], every.T, alpha=-2)
    distances = squared.masked_fill_(squared < _ROUNDING * scale, 0).sqrt_()
    same = labels[rows].unsqueeze(1) == labels
    distances.diagonal(rows.start).fill_(math.inf)
    near = distances.topk(k, dim=1, largest=False)
    nearest_other = distances.masked_fill_(same, math.inf).amin(1, keepdim=True)
    return near.values, same.gather(1, near.indices), nearest_other


def _mean_of_means(values: Tensor, mask: Tensor) -> float:
    """The mean of the means over each row's masked entries (N, k), of rows with any; 0 without any."""
    counts = mask.double().sum(1)
    sums = (values * mask).sum(1) / (counts + _EPSILON)
    return float(sums.sum() / ((counts > 0).double().sum() + _EPSILON))
