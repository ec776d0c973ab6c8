"""Miners that draw triplets at random, from the generator of the step."""

import math

import torch

from metriscope.objectives.kernels.chunks import count_rows
from metriscope.objectives.miners.base import Miner, draw
from metriscope.objectives.selection import Comparison, Triplets


class RandomMiner(Miner):
    """``triplets_per_anchor`` triplets of each anchor, positive and negative drawn uniformly with replacement."""

    kind = "triplets"

    def __init__(self, triplets_per_anchor: int = 10) -> None:
        self.triplets_per_anchor = triplets_per_anchor

    def select(self, comparison: Comparison) -> Triplets:
        count = self.triplets_per_anchor
        positive = draw(comparison.positive, count, comparison.generator)
        negative = draw(comparison.negative, count, comparison.generator)
        valid = comparison.positive.any(1) & comparison.negative.any(1)
        anchor = torch.arange(len(valid), device=valid.device).repeat_interleave(count)
        return Triplets(anchor, positive.flatten(), negative.flatten(), valid.repeat_interleave(count))


class DistanceWeightedMiner(Miner):
    """A negative for every positive pair, drawn with weight 1 / q(d) (Wu et al., arXiv:1706.07567).

    q(d) = d^(D-2) (1 - d^2 / 4)^((D-3)/2) is the density of the distance between random points of the
    unit sphere in D dimensions, so embeddings have to be L2-normalised.

    Args:
        cutoff: distances below it get the weight of the cutoff, which bounds the variance of the gradient.
        nonzero_loss_cutoff: negatives at least this far away are never drawn.
    """

    kind = "triplets"

    def __init__(self, cutoff: float = 0.5, nonzero_loss_cutoff: float = 1.4) -> None:
        self.cutoff = cutoff
        self.nonzero_loss_cutoff = nonzero_loss_cutoff

    def select(self, comparison: Comparison) -> Triplets:
        dimension = comparison.embeddings.shape[1]
        d = comparison.distance.to_euclidean(comparison.distances).clamp(self.cutoff, 2 - 1e-6)
        log_weights = (2 - dimension) * d.log() - (dimension - 3) / 2 * (1 - d.square() / 4).log()
        eligible = comparison.negative & (d < self.nonzero_loss_cutoff)
        log_weights = log_weights.masked_fill(~eligible, -math.inf)
        weights = (log_weights - log_weights.amax(1, keepdim=True)).exp().nan_to_num(0)
        anchor, positive = comparison.positive.nonzero(as_tuple=True)
        per_anchor = count_rows(comparison.positive)
        drawn = draw(weights, max(1, int(per_anchor.max())), comparison.generator)
        rank = comparison.positive.cumsum(1)[anchor, positive] - 1
        return Triplets(anchor, positive, drawn[anchor, rank], eligible.any(1)[anchor])
