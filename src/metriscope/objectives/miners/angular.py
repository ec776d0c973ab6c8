"""The miner of triplets with a large angle at the negative."""

import math
from collections.abc import Iterator
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Count
from metriscope.objectives.chunks import count_rows
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Triplets

# (positive pair, reference) cells of one chunk: on a CPU few enough for the cache.
_CHUNK_CELLS_CPU = 1 << 18
_CHUNK_CELLS = 1 << 24


class AngularMiner(Miner):
    """Triplets with an angle above ``angle`` at the negative.

    The angle is that of the angular loss (arXiv:1708.01682), atan(||a - p|| / (2 ||n - c||)) with
    c = (a + p) / 2 the centre of the positive pair, as in pytorch-metric-learning's AngularMiner. Since
    ||n - c||^2 = (d_an^2 + d_pn^2) / 2 - d_ap^2 / 4, it exceeds alpha exactly where

        2 sin(alpha)^2 (d_an^2 + d_pn^2) < d_ap^2,

    which needs three entries of the matrix of distances, Euclidean or (for cosine) those of normalised embeddings. Rows
    of that matrix are tested a chunk of positive pairs at a time, so no list of all triplets is ever made.

    Triplets chosen by three distances are neither a band nor a product of pairs, so the chosen triplets have to be
    listed (25 bytes each). The host waits for their number, and for that of positive pairs, in every chunk: every shape
    that follows depends on them, and lists as long as all triplets could be would cost more than the waits. Early in
    training nearly all triplets can be chosen. Above ``max_triplets`` a systematic sample of them is listed (one random
    start, then equal steps), each triplet with the same chance, so the mean over the list stays unbiased;
    pytorch-metric-learning has no such bound.

    Time O(sum over positive pairs of R), twice that where a sample is drawn; memory O(B R) and the list.

    Args:
        angle: in degrees, at least 0 and below 90; 0 takes every triplet whose positive does not coincide with its
            anchor.
        max_triplets: the longest list, at least 1; None for no bound.
    """

    kind = "triplets"
    paper = "arXiv:1708.01682"
    not_across = dict.fromkeys(("other",), "it needs the distance of positive and negative, which are of one side")

    def __init__(
        self, angle: Annotated[float, Field(ge=0, lt=90)] = 20.0, max_triplets: Count | None = 1_000_000
    ) -> None:
        super().__init__()
        self.factor = 2 * math.sin(math.radians(angle)) ** 2
        self.max_triplets = max_triplets

    def select(self, comparison: Comparison) -> Triplets:
        ranks = self._sample(comparison)
        parts, seen = [torch.zeros(0, 3, dtype=torch.int64, device=comparison.anchors.labels.device)], 0
        for anchor, positive, wide in self._chunks(comparison):
            row, negative = wide.nonzero(as_tuple=True)
            count = len(row)
            if ranks is not None:
                first, last = torch.searchsorted(
                    ranks, torch.tensor([seen, seen + count], device=ranks.device)
                ).tolist()
                kept = ranks[first:last] - seen
                row, negative = row[kept], negative[kept]
            seen += count
            parts.append(torch.stack([anchor[row], positive[row], negative], 1))
        anchor, positive, negative = torch.cat(parts).unbind(1)
        return Triplets(anchor, positive, negative, torch.ones_like(anchor, dtype=torch.bool))

    def _chunks(self, comparison: Comparison) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Positive pairs (m,), (m,) with the references (m, R) bool that are negatives at a wide angle."""
        rows, columns = comparison.distances.shape
        squared = comparison.distance.to_euclidean(comparison.distances).square()
        weighed = (squared * self.factor).masked_fill_(~comparison.negative, math.inf)
        positives, anchors = comparison.positive.T.nonzero(as_tuple=True)
        cells = _CHUNK_CELLS_CPU if squared.device.type == "cpu" else _CHUNK_CELLS
        step = max(1, cells // max(1, columns))
        for anchor, positive in zip(torch.split(anchors, step), torch.split(positives, step), strict=True):
            if rows == columns:
                opposite = weighed.index_select(0, positive)
            else:
                # Positives from a memory are not anchors, so their distances are not in the matrix.
                present, place = torch.unique_consecutive(positive, return_inverse=True)
                apart = comparison.distance(comparison.references.embeddings[present], comparison.references.embeddings)
                opposite = (comparison.distance.to_euclidean(apart).square_() * self.factor).index_select(0, place)
            opposite += weighed.index_select(0, anchor)
            yield anchor, positive, opposite < squared[anchor, positive].unsqueeze(1)

    def _sample(self, comparison: Comparison) -> Tensor | None:
        """The positions of the chosen triplets to list, ascending; None for all."""
        most = (count_rows(comparison.positive) * count_rows(comparison.negative)).sum()
        if self.max_triplets is None or int(most) <= self.max_triplets:
            return None
        count = sum(int(wide.sum()) for _, _, wide in self._chunks(comparison))
        if count <= self.max_triplets:
            return None
        start = torch.rand((), dtype=torch.float64, generator=comparison.moment.generator)
        steps = torch.arange(self.max_triplets, dtype=torch.float64) + start
        ranks = (steps * (count / self.max_triplets)).long().clamp_max_(count - 1)
        return ranks.to(comparison.distances.device)
