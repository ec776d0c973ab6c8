"""Miners that draw triplets at random, from the generator of the step."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Count
from metriscope.objectives.chunks import count_rows
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.host import awaited
from metriscope.objectives.miners.base import Miner, draw
from metriscope.objectives.selection import Triplets
from metriscope.parts import ArgumentError

# Distances between points of the unit sphere.
_OnSphere = Annotated[float, Field(gt=0, le=2)]


class RandomMiner(Miner):
    """``triplets_per_anchor`` triplets of each anchor, positive and negative drawn uniformly with replacement."""

    kind = "triplets"

    def __init__(self, triplets_per_anchor: Count = 10) -> None:
        super().__init__()
        self.triplets_per_anchor = triplets_per_anchor

    def select(self, comparison: Comparison) -> Triplets:
        count = self.triplets_per_anchor
        positive = draw(comparison.positive, count, comparison.moment.generator)
        negative = draw(comparison.negative, count, comparison.moment.generator)
        valid = comparison.positive.any(1) & comparison.negative.any(1)
        anchor = torch.arange(len(valid), device=valid.device).repeat_interleave(count)
        return Triplets(anchor, positive.flatten(), negative.flatten(), valid.repeat_interleave(count))


class DistanceWeightedMiner(Miner):
    """A negative for every positive pair, drawn with weight 1 / q(d) (Wu et al., arXiv:1706.07567).

    q(d) = d^(D-2) (1 - d^2 / 4)^((D-3)/2) is the density of the distance between random points of the
    unit sphere in D dimensions, so embeddings have to be L2-normalised.

    On a GPU the host waits once in a step for the largest number of positives of an anchor, because so many numbers are
    drawn for each; the list then has as many places for every anchor.

    Args:
        cutoff: distances below it get the weight of the cutoff, which bounds the variance of the gradient; above 0 and
            below ``nonzero_loss_cutoff``.
        nonzero_loss_cutoff: negatives at least this far away are never drawn; above 0 and at most 2.
    """

    needs_cosines = True
    kind = "triplets"
    paper = "arXiv:1706.07567"
    needs_unit_sphere = True

    def __init__(self, cutoff: _OnSphere = 0.5, nonzero_loss_cutoff: _OnSphere = 1.4) -> None:
        super().__init__()
        self.cutoff = cutoff
        self.nonzero_loss_cutoff = nonzero_loss_cutoff

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        cutoff, last = arguments["cutoff"], arguments["nonzero_loss_cutoff"]
        if cutoff >= last:
            rule = f"it has to be below nonzero_loss_cutoff={last}, or no negative is ever drawn"
            raise ArgumentError("cutoff", cutoff, rule)

    def select(self, comparison: Comparison) -> Triplets:
        dimension = comparison.anchors.embeddings.shape[1]
        d = comparison.distance.to_euclidean(comparison.distances).clamp(self.cutoff, 2 - 1e-6)
        log_weights = (2 - dimension) * d.log() - (dimension - 3) / 2 * (1 - d.square() / 4).log()
        eligible = comparison.negative & (d < self.nonzero_loss_cutoff)
        log_weights = log_weights.masked_fill(~eligible, -math.inf)
        weights = (log_weights - log_weights.amax(1, keepdim=True)).exp().nan_to_num(0)
        per_anchor = count_rows(comparison.positive)
        drawn = draw(weights, max(1, awaited(per_anchor.max())), comparison.moment.generator)
        if d.device.type == "cpu":
            anchor, positive = comparison.positive.nonzero(as_tuple=True)
            rank = comparison.positive.cumsum(1)[anchor, positive] - 1
            return Triplets(anchor, positive, drawn[anchor, rank], eligible.any(1)[anchor])
        return _padded(comparison.positive, per_anchor, drawn, eligible.any(1))


def _padded(positive: Tensor, per_anchor: Tensor, drawn: Tensor, drawable: Tensor) -> Triplets:
    """The same list with as many places (B, P) for every anchor, so that its length is known.

    Args:
        positive: (B, R) bool.
        per_anchor: (B,), their number.
        drawn: (B, P) negatives.
        drawable: (B,), the anchors that have any.
    """
    rows, width = drawn.shape
    place = torch.where(positive, positive.cumsum(1) - 1, width)
    every = torch.arange(positive.shape[1], device=positive.device).expand_as(place)
    columns = place.new_zeros(rows, width + 1).scatter_(1, place, every)[:, :width]
    steps = torch.arange(width, device=positive.device)
    valid = (steps < per_anchor.unsqueeze(1)) & drawable.unsqueeze(1)
    anchor = torch.arange(rows, device=positive.device).repeat_interleave(width)
    return Triplets(anchor, columns.flatten(), drawn.flatten(), valid.flatten())
