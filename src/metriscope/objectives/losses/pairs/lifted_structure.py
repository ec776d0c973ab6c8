"""Lifted structure loss, generalised and original."""

from typing import Literal

import torch
from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Reduction
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.gradient import KnownGradient
from metriscope.objectives.kernels.hinged_rows import hinged_rows
from metriscope.objectives.kernels.numerics import masked_softmax
from metriscope.objectives.losses.base import Loss, mean_part, reduce
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs, Selection, as_pairs


class LiftedStructureLoss(Loss):
    """max(0, log sum_p e^(d_ap - positive_margin) + log sum_n e^(margin - d_an)) of each anchor.

    The generalised form of Hermans, Beyer, Leibe, arXiv:1703.07737 (L_LG), with Euclidean distances.

    ``form=original`` is that of Song et al., arXiv:1511.06452: half the mean over positive pairs (i, j) of
    max(0, d_ij - positive_margin + log(sum e^(margin - d_in) over the negatives of i and over those of j))^2. It needs
    the negatives of both i and j, so its positives are in the batch; a memory adds only negatives.

    Equal to pytorch-metric-learning's ``GeneralizedLiftedStructureLoss`` and ``LiftedStructureLoss`` where every
    anchor has positives and negatives; the former keeps anchors that have one side only, which are left out here.

    Args:
        margin: margin of negatives, in units of the distance, at least 0; 1 in the original, from 0.1 to 1 in the
            generalised.
        positive_margin: distance that positives may have, at least 0; 0 in the papers.
        form: ``generalised`` or ``original``.
        reduction: ``mean`` over all terms, ``sum``, or ``mean_active`` over non-zero terms.

    ``terms`` are the anchors that have a positive and a negative (original: their positive pairs, both orders),
    ``active`` those whose loss is above zero.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = True
    paper = "arXiv:1703.07737"

    def __init__(
        self,
        margin: NonNegative = 1.0,
        positive_margin: NonNegative = 0.0,
        form: Literal["generalised", "original"] = "generalised",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.margin = margin
        self.positive_margin = positive_margin
        self.form = form
        self.reduction = reduction

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        judge = self._original if self.form == "original" else self._generalised
        total, active, terms = judge(comparison.distances, pairs)
        value = reduce(total, active, terms, self.reduction)
        return LossOutput(value, active, terms, mean_part(total, terms, self.reduction))

    def _generalised(self, distances: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        found = hinged_rows(distances, pairs.positive, pairs.negative, self._hinge)
        total: Tensor = KnownGradient.apply(distances, found.weights, found.losses.sum(dtype=torch.float64))
        return total, found.active[0], found.anchors.sum()

    def _hinge(self, rows: Tensor, positive: Tensor, negative: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pulls, pull = masked_softmax(rows, positive)
        pushes, push = masked_softmax(-rows, negative)
        excess = pull + push + (self.margin - self.positive_margin)
        active = excess > 0
        return excess.clamp_min(0), pulls.sub_(pushes).mul_(active), active.long()

    def _original(self, distances: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            found = hinged_rows(distances, pairs.negative, pairs.negative, self._push)
            # Far below every other log-sum, and finite.
            push = found.losses.masked_fill(~found.anchors, torch.finfo(distances.dtype).min / 4)
            own = slice(0, len(distances))
            positive = pairs.positive[:, own] & (found.anchors | found.anchors.T)
            both = torch.logaddexp(push, push.T)
            excess = (distances[:, own] + both).sub_(self.positive_margin).clamp_min_(0).mul_(positive)
            share = (push - both).exp_()
            by_push = (excess * share).sum(1) + (excess * (1 - share)).sum(0)
            weights = found.weights.mul_(by_push.unsqueeze(1))
            weights[:, own] += excess
            value = excess.square().sum(dtype=torch.float64) / 2
        total: Tensor = KnownGradient.apply(distances, weights, value)
        return total, (excess > 0).sum(), positive.sum()

    def _push(self, rows: Tensor, positive: Tensor, negative: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The log-sum over negatives, without a hinge, as the loss of a row."""
        pushes, push = masked_softmax(-rows, negative)
        return push + self.margin, pushes.neg_(), torch.zeros_like(push, dtype=torch.int64)
