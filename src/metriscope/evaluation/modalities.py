"""How two modalities lie in one space: the gap between them, and variances of each side and across both."""

from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.evaluation.verification.scores import directions


def modality_gap(embeddings: Tensor, side: Tensor) -> float:
    """||mean of side 0 - mean of side 1||, of embeddings scaled to unit length.

    Liang et al., Mind the Gap, NeurIPS 2022, arXiv:2203.02053 (as read in the authors' code,
    Weixin-Liang/Modality-Gap, get_gap_stats: the Euclidean distance between the centres of both; the paper was not
    read). 0 where both have one mean, 2 where they lie at two opposite points. In float64; O(N D).

    >>> modality_gap(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0, 1, 1]))
    1.0

    Args:
        embeddings: (N, D).
        side: (N,), 0 or 1; NaN where there is one alone.
    """
    z = directions(embeddings)
    return float(torch.linalg.vector_norm(z[side == 0].mean(0) - z[side == 1].mean(0)))


class SideVariance(NamedTuple):
    """Variances of embeddings as they are, in squared units of them."""

    intra: tuple[float, float]
    """Of each side by itself: mean over classes of the mean squared distance to the class mean."""
    inter: tuple[float, float]
    """Of each side by itself: mean squared distance of class means to the mean of class means."""
    intra_across: float
    """The same as ``intra`` about the class means of the other side, mean of both sides. It is the mean of both
    ``intra`` and the mean over classes of the squared distance between the two means of a class."""
    inter_across: float
    """The same as ``inter`` about the mean of the class means of the other side, mean of both sides. It is the mean of
    both ``inter`` and the squared distance between the two means of class means."""


def side_variance(embeddings: Tensor, labels: Tensor, side: Tensor) -> SideVariance:
    """The variances of two sides, over the classes that both have, in float64; O(N D), O(C D) memory.

    >>> z = torch.tensor([[0.0], [2.0], [5.0], [10.0], [10.0], [20.0]])
    >>> side_variance(z, torch.tensor([0, 0, 1, 0, 0, 1]), torch.tensor([0, 0, 0, 1, 1, 1]))
    SideVariance(intra=(0.5, 0.0), inter=(4.0, 25.0), intra_across=153.25, inter_across=158.5)

    Args:
        embeddings: (N, D).
        labels: (N,) integers.
        side: (N,), 0 or 1.

    Returns:
        NaN where no class has samples on both sides.
    """
    z, classes = embeddings.detach().double(), torch.unique(labels, return_inverse=True)[1]
    number = int(classes.max()) + 1 if len(classes) else 0
    counts, means, spreads = [], [], []
    for own in (side == 0, side == 1):
        places, rows = classes[own], z[own]
        count = torch.bincount(places, minlength=number).double()
        mean = z.new_zeros(number, z.shape[1]).index_add_(0, places, rows) / count.clamp(min=1)[:, None]
        scatter = z.new_zeros(number).index_add_(0, places, (rows - mean[places]).square().sum(1))
        counts.append(count)
        means.append(mean)
        spreads.append(scatter / count.clamp(min=1))
    both = (counts[0] > 0) & (counts[1] > 0)
    means, intra = [mean[both] for mean in means], [float(spread[both].mean()) for spread in spreads]
    centres = [mean.mean(0) for mean in means]
    inter = [float((mean - centre).square().sum(1).mean()) for mean, centre in zip(means, centres, strict=True)]
    apart = float((means[0] - means[1]).square().sum(1).mean())
    gap = float((centres[0] - centres[1]).square().sum())
    return SideVariance((intra[0], intra[1]), (inter[0], inter[1]), sum(intra) / 2 + apart, sum(inter) / 2 + gap)
