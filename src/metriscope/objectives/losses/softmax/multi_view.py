"""What multi-view losses share: groups of views, and logarithms of sums over all pairs of a group, without a matrix."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import Inputs, Judged, Rows, Rule
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.numerics import masked_softmax
from metriscope.objectives.output import LossOutput
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import Pairs, RowPairs, Selection

Views = Literal["classes", "images"]


class Groups(NamedTuple):
    """The groups of a batch, whose members are views of one thing.

    Attributes:
        own: (B,) int64, the group of each sample, below B.
        place: (B,) int64, how many members of its group come before it.
    """

    own: Tensor
    place: Tensor

    def shares(self, logarithms: Tensor, members: Tensor) -> Tensor:
        """The softmax (B,) of numbers (B,) over those members (B,) of each group, 0 for others."""
        lowest = torch.finfo(logarithms.dtype).min / 4
        masked = logarithms.masked_fill(~members, lowest)
        highest = torch.full_like(masked, lowest).scatter_reduce(0, self.own, masked, "amax")
        exponentials = (masked - highest[self.own]).exp() * members
        return exponentials / self.sums(exponentials).clamp_min(torch.finfo(logarithms.dtype).tiny)

    def sums(self, numbers: Tensor) -> Tensor:
        """(B, ...) -> (B, ...), the sum over each sample's group."""
        return torch.zeros_like(numbers).index_add(0, self.own, numbers)[self.own]


def groups_of(batch: Samples, views: Views | None) -> Groups:
    """The groups of a batch.

    Args:
        batch: B samples.
        views: ``classes``, the samples of each class; ``images``, those with the same index in the training set; None
            for the latter where each image of the batch is there at least twice, else for the former.
    """
    count, device = len(batch.labels), batch.labels.device
    # A sample of no known image is a group of its own.
    images = torch.where(batch.index >= 0, batch.index, -1 - torch.arange(count, device=device))
    keys = images if views == "images" else batch.labels
    if views is None:
        ordered = images.sort().values
        often = torch.searchsorted(ordered, images, right=True) - torch.searchsorted(ordered, images) > 1
        keys = torch.where((often | (batch.labels < 0)).all(), images, batch.labels)
    ordered, order = keys.sort(stable=True)
    own = torch.searchsorted(ordered, keys)
    position = torch.empty_like(order).scatter_(0, order, torch.arange(count, device=device))
    return Groups(own, position - own)


class Pulled(NamedTuple):
    """What a first pass finds, of rows (B,) whose groups count.

    Attributes:
        groups: of the batch.
        pulls, pushes: (B,), the logarithms of a row's sums.
        pulling, pushing: (B,) bool, the rows that have such a sum.
        by_pulls: (B,), the softmax of ``pulls`` over each group.
    """

    groups: Groups
    pulls: Tensor
    pushes: Tensor
    pulling: Tensor
    pushing: Tensor
    by_pulls: Tensor


class MultiViewLoss(Loss):
    """Base class: means over groups of -log sum_{i, j in the group} e^{s_ij / t}, and of a term that pushes.

    Such a logarithm is no sum over rows. With A_i the logarithm of row i's own sum, and w the softmax of A over the
    group, it is sum_i w_i (A_i - log w_i), whose derivative by w is 0. A first pass over the rows finds A and w, a
    second one value and gradients, and no matrix is kept.

    Args:
        temperature: t, above 0.
        views: see :func:`groups_of`.
    """

    accepts = frozenset({"none"})
    hinge = False
    paper = "arXiv:2507.06979"
    # Whether what a row pushes stands beside its views in one sum.
    together = False

    def __init__(self, temperature: Positive, views: Views | None) -> None:
        super().__init__()
        self.temperature = temperature
        self.views = views

    def partners(self, groups: Groups, rows: slice) -> Tensor | None:
        """(r, B) bool, the samples of the batch that some anchors may push; None for all samples of other classes."""
        return None

    def factors(self, found: Pulled) -> tuple[Tensor, Tensor]:
        """(B,) each: factors of the logarithms of pushes, and what else each row adds to the sum over groups."""
        raise NotImplementedError

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        groups = groups_of(comparison.anchors, self.views)
        chosen = RowPairs(lambda block: self._pairs(comparison, groups, block))
        comparison.hold()
        with torch.no_grad():
            first = over_rows(comparison, chosen, Rule(self._logarithms, reported=1, complete=False, plain=True))
            pulling, pushing = (first.sizes > 0).unbind(1)
            counts = (groups.sums((first.sizes > 0).long()) > 0).all(1)
            pulling, pushing = pulling & counts, (pushing | pulling if self.together else pushing) & counts
            pulls, pushes = first.losses.unbind(1)
            by_pulls = groups.shares(pulls, pulling)
            found = Pulled(groups, pulls, pushes, pulling, pushing, by_pulls)
            by_pushes, added = self.factors(found)
            numbers = torch.stack([by_pulls, by_pushes, added + torch.xlogy(by_pulls, by_pulls)], 1)
            terms = (counts & (groups.place == 0)).sum()
        second = over_rows(comparison, chosen, Rule(self._judge, complete=False), Inputs(anchors=numbers))
        return second.output(1 / terms.clamp_min(1).double(), terms, terms, {})

    def _pairs(self, comparison: Comparison, groups: Groups, block: Block) -> Pairs:
        """Views and what is pushed; a memory holds no views."""
        around = comparison.first, block.positive.shape[1] - comparison.first - len(groups.own)
        own, partners = groups.own[block.rows].unsqueeze(1) == groups.own, self.partners(groups, block.rows)
        if any(around):
            own, partners = F.pad(own, around), None if partners is None else F.pad(partners, around)
        negative = block.negative if partners is None else block.negative & partners
        return Pairs(block.positive & own, negative)

    def _sums(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Shares (r, R) and logarithms (r, 1) of the sums over views, and over what is pushed."""
        logits = rows.values / self.temperature
        pushed = rows.positive + rows.negative if self.together else rows.negative
        return *masked_softmax(logits, rows.positive), *masked_softmax(logits, pushed)

    def _logarithms(self, rows: Rows) -> Tensor:
        _, pulls, _, pushes = self._sums(rows)
        return torch.cat([pulls, pushes], 1)

    def _judge(self, rows: Rows) -> Judged:
        assert rows.anchors is not None
        by_pulls, by_pushes, added = torch.split(rows.anchors, 1, 1)
        to_views, pulls, to_pushed, pushes = self._sums(rows)
        slopes = (by_pushes * to_pushed - by_pulls * to_views) / self.temperature
        return Judged(by_pushes * pushes - by_pulls * pulls + added, (slopes,))
