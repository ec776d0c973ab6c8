"""Histogram loss."""

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count
from metriscope.objectives.chunks import chunk_rows
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.gradient import attach
from metriscope.objectives.kernels.histograms import NEGATIVE, POSITIVE, histograms, kinds, soft_bins
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.numerics import numbers
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, as_pairs


class HistogramLoss(Loss):
    """sum_r h-_r sum_{q <= r} h+_q: the chance that a random negative pair is more similar than a random positive one.

    Ustinova and Lempitsky, arXiv:1611.00822: h+ and h- are the histograms of the cosine similarities of
    positive and of negative pairs over num_bins + 1 nodes from -1 to 1. Each similarity is shared between its two
    nearest nodes, and each histogram sums to 1.

    pytorch-metric-learning's ``HistogramLoss`` finds bins in float32, so that values agree to about 1e-6, with these
    exceptions: it leaves out the negative pairs of two samples neither of which has a positive, counts a pair once
    where a miner selects it in both directions, takes no further references, and raises for a similarity of exactly 1
    (index out of range).

    A pair's slope depends on the histograms of all pairs, so the matrix of distances is kept.

    Args:
        num_bins: intervals between the nodes, at least 1; 100 as in pytorch-metric-learning.

    ``terms`` are the positive and negative pairs, all of them active; 0 unless there are both.
    """

    needs_cosines = True
    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    paper = "arXiv:1611.00822"

    def __init__(self, num_bins: Count = 100) -> None:
        super().__init__()
        self.num_bins = num_bins

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        value, weights, terms = self._account(comparison, pairs.positive, pairs.negative)
        learns = comparison.distance.learns
        matrix = comparison.similarities if learns else comparison.distances
        return LossOutput(attach(value, [(matrix, weights)]), terms, terms, {})

    @torch.no_grad()
    def _account(self, comparison: Comparison, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The value, its derivative by the distances (B, R), and the number of pairs."""
        bins, distance, distances = self.num_bins, comparison.distance, comparison.distances.detach()
        counts = torch.zeros(3, bins + 1, dtype=torch.float64, device=distances.device)
        step = chunk_rows(distances)
        chunks = [slice(start, start + step) for start in range(0, len(distances), step)]
        for rows in chunks:
            kind, lower, upper_share = self._place(distance.similarity(distances[rows]), positive[rows], negative[rows])
            counts += histograms(kind, lower, upper_share, bins).sum(0, dtype=torch.float64)

        pairs = torch.stack([negative.sum(), positive.sum()])
        valid = (pairs > 0).all()
        densities = counts[:2] / pairs.clamp_min(1).unsqueeze(1)
        positive_until = densities[POSITIVE].cumsum(0)
        value = torch.where(valid, (densities[NEGATIVE] * positive_until).sum(), 0)
        negative_from = densities[NEGATIVE].flip(0).cumsum(0).flip(0)
        by_node = torch.stack([positive_until, negative_from]) * valid / pairs.clamp_min(1).unsqueeze(1)
        slopes = torch.zeros(3, bins, dtype=distances.dtype, device=distances.device)
        slopes[:2] = by_node.diff(dim=1) * (bins / 2)

        weights = torch.empty_like(distances)
        for rows in chunks:
            kind, lower, _ = self._place(distance.similarity(distances[rows]), positive[rows], negative[rows])
            moved = slopes.view(1, -1).expand(len(kind), -1).gather(1, kind.mul_(bins).add_(lower))
            # Similarities that a distance with parameters gives depend on these as well: autograd knows how.
            weights[rows] = moved if distance.learns else distance.from_similarity_(moved, distances[rows])
        return value, weights, pairs.sum() * valid

    def _place(self, rows: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        lower, upper_share = soft_bins((rows + 1).mul_(self.num_bins / 2), self.num_bins)
        return kinds(numbers(positive, rows.dtype), numbers(negative, rows.dtype)), lower, upper_share
