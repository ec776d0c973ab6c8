"""Embedding expansion: points between two samples of one class as further negatives of other classes."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.comparison import Segment
from metriscope.objectives.references.base import References
from metriscope.objectives.references.mixing import mix
from metriscope.objectives.samples import Moment, Samples


class EmbeddingExpansion(References):
    """x_ik = norm((k z_j + (n + 1 - k) z_i) / (n + 1)) for k = 1..n, j the partner of sample i within its class.

    The n points of a sample divide the segment to its partner evenly. They have its label and are negatives only:
    anchors of other classes are pushed from them, those of their own are not pulled. Gradients go through them to both
    ends. Ko and Gu, Embedding Expansion, arXiv:2003.02546 (as read in the authors' code, clovaai/embedding-expansion,
    whose partner is the neighbour in a batch of adjacent pairs). Here samples of a class are paired in the order of
    the batch, the first with the second and so on, wherever they stand in it, over the batches of all processes; a
    sample that is left over has no points, and neither has the middle of two opposite ones. Where samples have sides
    (two modalities), partners are of one side, which is that of their points.

    Every miner and loss of pairs or triplets sees the points. The triplets of the paper, in which the points of an
    anchor stand for it as well, are ``miner=batch_hard miner.stand_ins=true``. A batch of B has n B points, so that
    matrices of pairs (B, R) grow by n B columns. Counts of a loss's terms include terms with points; pairs that
    diagnostics count are those of real samples.

    Args:
        points: n, at least 1; 2 in the paper.
        spherical: whether points are L2-normalised, as they have to be where embeddings are.
    """

    paper = "arXiv:2003.02546"

    def __init__(self, points: Annotated[int, Field(ge=1)] = 2, spherical: bool = True) -> None:
        super().__init__()
        self.points = points
        self.spherical = spherical

    def recall(self, batch: Samples, moment: Moment) -> Segment:
        """n B points, attached to the graph; label -1 for those that are none."""
        labels, n = batch.labels, self.points
        groups = labels if batch.side is None else torch.where(labels >= 0, 2 * labels + batch.side, -1)
        source = torch.arange(len(labels), device=labels.device).repeat(n)
        mate = partners(groups).repeat(n)
        share = torch.arange(1, n + 1, device=labels.device).double().div(n + 1).repeat_interleave(len(labels))
        mixed = mix(batch, mate.clamp_min(0), source, share, self.spherical)
        own = torch.where((mate >= 0) & mixed.whole, labels[source], -1)
        index = torch.full_like(own, -1, dtype=torch.int64)
        side = None if batch.side is None else batch.side[source]
        return Segment(Samples(mixed.embeddings, own, index, source, side, mixed.affine), True, True)


def partners(labels: Tensor) -> Tensor:
    """(B,) int64: the partner of each sample of a class, whose samples are paired in their order; -1 for none.

    >>> partners(torch.tensor([0, 1, 0, 0, 1, -1, -1])).tolist()
    [2, 4, 0, -1, 1, -1, -1]
    """
    ordered, order = labels.sort(stable=True)
    start = torch.searchsorted(ordered, ordered)
    size = torch.searchsorted(ordered, ordered, right=True) - start
    place = torch.arange(len(labels), device=labels.device) - start
    other = place ^ 1
    found = torch.where((other < size) & (ordered >= 0), order[(start + other).clamp_max(len(labels) - 1)], -1)
    return torch.empty_like(order).scatter_(0, order, found)
