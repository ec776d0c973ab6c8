"""How an evaluated set covers the unit sphere, and how the training set covers the evaluated one."""

import math

import torch
from torch import Tensor

from metriscope.evaluation.pairs import row_blocks
from metriscope.evaluation.search.neighbors import nearest
from metriscope.evaluation.verification.scores import directions


def uniformity(embeddings: Tensor, t: float = 2.0) -> float:
    """log of the mean of exp(-t d^2) over all pairs of samples, d the distance of unit vectors.

    Wang & Isola, arXiv:2005.10242, verified in the authors' code (ssnl/align_uniform). 0 where all samples lie at one
    point; the lower, the more evenly they cover the sphere. By blocks, in float64: O(N^2 D) time, O(N D) memory beside
    a block; half as many products as a search for neighbours has.

    Args:
        embeddings: (N, D).
        t: above 0.

    Returns:
        At most 0; NaN for fewer than two samples.
    """
    z = directions(embeddings)
    pairs = len(z) * (len(z) - 1) / 2
    if not pairs:
        return math.nan
    logarithms = []
    for rows in row_blocks(len(z)):
        exponents = (z[rows] @ z[rows.start :].T).sub_(1).clamp_(max=0).mul_(2 * t)
        counted = rows.stop - rows.start
        square = exponents[:, :counted]
        square.masked_fill_(torch.ones_like(square, dtype=torch.bool).tril_(), -math.inf)
        logarithms.append(exponents.flatten().logsumexp(0))
    return float(torch.stack(logarithms).logsumexp(0)) - math.log(pairs)


def utilization(embeddings: Tensor, references: Tensor) -> float:
    """Mean over samples of d^2 to the nearest of the references, d the distance of unit vectors.

    Metrix (arXiv:2106.04990), with the square from memory; the table of that paper was read in a secondary source. Low
    where the training set lies wherever the evaluated set does, and 0 for a space that has collapsed.

    **Warning**: further references can only lower it. A model that is trained with mixed samples is compared with
    others over the clean training set alone, as runs do; that mixed samples lower it is true of any model.

    Exact, by the search for neighbours in bounded memory: O(N M D) time.

    Args:
        embeddings: (N, D).
        references: (M, D), of the training set; NaN where there are none.
    """
    if not len(references) or not len(embeddings):
        return math.nan
    asking, known = directions(embeddings), directions(references)
    found = known[nearest(asking, known, 1).squeeze(1)]
    return float((asking - found).square().sum(1).mean())
