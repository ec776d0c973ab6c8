"""Dynamic soft margin loss."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Count, UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.steps import Steps, histogram_of, weighed_by
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import Account, LossOutput
from metriscope.objectives.samples import Moment
from metriscope.objectives.selection import Selection, Triplets, triplet_distances, unbanded


class DynamicSoftMarginLoss(Loss):
    """Mean over triplets of F(x) x, x = d(a, p) - d(a, n), F the share of all triplets so far that are easier.

    Zhang and Rusinkiewicz, Learning Local Descriptors With a CDF-Based Dynamic Soft Margin, ICCV 2019 (as read in
    pytorch-metric-learning and in a copy of the authors' code, not in the paper): the weight F(x), a constant without a
    gradient, takes the place of a margin. F is the sum, up to the bin of x, of a histogram of num_bins nodes from
    min_val on, at distances of 2 |min_val| / num_bins; each x is shared between the two nearest, and counts at the last
    where it lies beyond. In training the histogram keeps a moving mean over batches, to which the batch itself counts;
    in evaluation it stays, and the batch counts with the same share. It is a buffer, hence in the checkpoint. The value
    may be negative, so that its relative decay means little.

    The authors take one triplet for each sample, with its closest negative, as ``miner=batch_hard`` nearly does, and
    512 nodes, the last of them at -min_val; here, as in pytorch-metric-learning, all selected triplets count. Triplets
    of pairs are not listed (see :mod:`metriscope.objectives.kernels.steps`); a list of triplets keeps the matrix of
    distances.

    pytorch-metric-learning's ``DynamicSoftMarginLoss`` has the same value for the first batch. Different from it, and
    as in the authors' code: the histogram of a batch is one of shares (there of counts, so that with T triplets its
    momentum m weighs as m T / (1 - m + m T) does here), no gradient flows through it (there one does), and x beyond the
    last node is taken (there it is an error).

    Args:
        min_val: the first node, in units of the distance, below 0; -2 for embeddings of unit length.
        num_bins: K, the number of nodes, at least 1.
        momentum: the share of the batch in the histogram, from 0 to 1; the first batch counts alone.

    ``terms`` are the triplets, all of them active.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    paper = "Zhang & Rusinkiewicz, ICCV 2019"
    frequencies: Tensor
    """(K,), the histogram; zeros before the first batch."""

    def __init__(
        self,
        min_val: Annotated[float, Field(lt=0)] = -2.0,
        num_bins: Count = 10,
        momentum: UnitInterval = 0.01,
    ) -> None:
        super().__init__()
        self.steps = Steps(min_val, -2 * min_val / num_bins, num_bins)
        self.momentum = momentum
        self.register_buffer("frequencies", torch.zeros(num_bins))
        self._moved: Tensor | None = None

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        if isinstance(selection, Triplets):
            return self._list(comparison, selection)
        chosen = unbanded(selection)
        comparison.hold()
        with torch.no_grad():
            counted = over_rows(comparison, chosen, histogram_of(self.steps))
            terms = counted.sizes.prod(1).sum()
            weights = self._weights(counted.losses[:, 1:].sum(0, dtype=torch.float64), terms)
        found = over_rows(comparison, chosen, weighed_by(self.steps, weights))
        return found.output(1 / terms.clamp_min(1).double(), terms, terms, {})

    def _list(self, comparison: Comparison, selection: Triplets) -> LossOutput:
        to_positive, to_negative, valid = triplet_distances(selection, comparison)
        x, terms = to_positive - to_negative, valid.sum()
        with torch.no_grad():
            places = (x.double() - self.steps.lowest) / self.steps.width
            bins = places.floor().long().clamp(-1, self.steps.bins - 1) + 1
            counts = valid.new_zeros(2, self.steps.bins + 1, dtype=torch.float64)
            counts.index_add_(1, bins, torch.stack([valid.double(), x.double() * valid]))
            weights = self._weights(self.steps.nodes(counts[:1], counts[1:])[0], terms)
        value = (weights.to(x.dtype)[bins] * x * valid).sum() / terms.clamp_min(1)
        return LossOutput(value, terms, terms, {})

    def _weights(self, counts: Tensor, terms: Tensor) -> Tensor:
        """(K + 1,), of the bins, once the triplets of a batch are in the histogram (K,)."""
        before = self.frequencies.double()
        share = torch.where(before.sum() > 0, before.new_full((), self.momentum), 1.0)
        moved = torch.where(terms > 0, (1 - share) * before + share * counts / terms.clamp_min(1), before)
        self._moved = moved
        shares = moved.cumsum(0)
        return torch.cat([shares[:1], shares])

    @torch.no_grad()
    def observe(self, account: Account, moment: Moment) -> None:
        if self._moved is not None:
            self.frequencies.copy_(self._moved)
