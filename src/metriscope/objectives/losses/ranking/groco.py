"""Group ordering constraints (GroCo): negatives before positives in a soft sorting network."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from metriscope.objectives.arguments import Count, Positive
from metriscope.objectives.chunks import most_positives
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rules import Rows
from metriscope.objectives.kernels.sorting import chances_of_first
from metriscope.objectives.losses.row_loss import RowLoss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class GroCoLoss(RowLoss):
    """Mean over anchors of 1/n [sum_{j in N} -log low_j + sum_{j in P} -log(1 - low_j)], n = |N| + |P|.

    Shvetsova et al., "Learning by Sorting", arXiv:2301.02009 (verified in the authors' code,
    ninatu/learning_by_sorting, and in Felix-Petersen/diffsort; the paper's text was not read). P are the positives of
    the anchor and N its nearest negatives. Both groups are sorted by cosine similarity, the negatives are put before
    the positives, and an odd-even sorting network with soft comparators (see
    :func:`metriscope.objectives.kernels.sorting.chances_of_first`) says by which chance, low_j, sample j lands on one
    of the first |N| ranks: only the order between the groups is learned. Logarithms are at least -100. Anchors without
    a positive or without a negative are left out.

    In the authors' self-supervised code positives are the other views of an image, and negatives the other images
    under the anchor's own augmentation. Their gradient flows into the anchor alone, as with ``detach_references``.

    Cosines lie close to each other beside a comparator with b = 1: the value of a perfect batch is far above 0 (0.14 of
    10 negatives and 3 positives, 0.25 where all are alike), so the loss hardly falls; with b = 10 the former is 0.015.

    O(B R D + B n^2) time. On a GPU the host waits once in a block of anchors for the largest number of positives,
    unless ``positives`` says it; a compiled graph has a layer for each of the R references, so it needs ``positives``.

    Args:
        negatives: the largest |N|.
        steepness: b, the steepness of a comparator, above 0.
        positives: the largest |P|, whose farthest ones count. None for all of them.
        detach_references: whether gradients flow into anchors alone.

    ``terms`` are the anchors of the mean, all of them active.
    """

    weighable = frozenset({"rows"})
    mixes = False
    paper = "arXiv:2301.02009"

    def __init__(
        self,
        negatives: Count = 10,
        steepness: Positive = 1.0,
        positives: Count | None = None,
        detach_references: bool = True,
    ) -> None:
        super().__init__()
        self.negatives = negatives
        self.steepness = steepness
        self.positives = positives
        self.detach_references = detach_references

    def formula(self, rows: Rows) -> Tensor:
        positive, negative = rows.positive > 0, rows.negative > 0
        columns = rows.values.shape[1]
        width = min(most_positives(positive) if self.positives is None else self.positives, columns)
        # Nearest negatives and farthest positives first; after the last one of an anchor, infinities.
        near = rows.values.masked_fill(~negative, -math.inf).topk(min(self.negatives, columns)).values
        far = rows.values.masked_fill(~positive, math.inf).topk(width, largest=False).values
        of_negatives, of_positives = rows.sizes[:, 1].clamp_max(near.shape[1]), rows.sizes[:, 0].clamp_max(width)
        sizes = of_negatives + of_positives

        places = torch.arange(near.shape[1] + width, device=rows.values.device).unsqueeze(1)
        low, real = places < of_negatives, places < sizes
        origin = torch.where(low, of_negatives - 1 - places, near.shape[1] + places - of_negatives)
        every = torch.cat([near, far], 1).T
        ordered = torch.where(real, every.gather(0, torch.where(real, origin, 0)), 0)

        chances = chances_of_first(ordered, sizes, of_negatives, self.steepness).clamp(0, 1)
        costs = F.binary_cross_entropy(chances, low.to(chances.dtype), reduction="none")
        return ((costs * real).sum(0) / sizes.clamp_min(1)).unsqueeze(1)

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        return super().forward(comparison.of_anchors() if self.detach_references else comparison, selection)
