"""Lifted structure loss, generalised and original."""

from typing import Literal

import torch
from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Reduction
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels import pairs
from metriscope.objectives.kernels.gradient import attach
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import Judged, Rows
from metriscope.objectives.losses.base import Loss, mean_part, reduce
from metriscope.objectives.numerics import log_sum_exp, masked_softmax, numbers
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs, Selection, as_pairs, unbanded


class LiftedStructureLoss(Loss):
    """max(0, log sum_p e^(d_ap - positive_margin) + log sum_n e^(margin - d_an)) of each anchor.

    The generalised form of Hermans, Beyer, Leibe, arXiv:1703.07737 (L_LG), with Euclidean distances.

    ``form=original`` is that of Song et al., arXiv:1511.06452: half the mean over positive pairs (i, j) of
    max(0, d_ij - positive_margin + log(sum e^(margin - d_in) over the negatives of i and over those of j))^2. It needs
    the negatives of both i and j, so its positives are in the batch, a memory adds only negatives, and the matrix of
    distances is kept.

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
    mixes = True
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
        # The original joins the negatives of two anchors.
        self.mixes = form == "generalised"

    def formula(self, rows: Rows) -> Judged:
        """The generalised losses (r, 1) of some anchors, differentiable, and which are above zero."""
        pull = log_sum_exp(rows.values, rows.positive, rows.weighed)
        push = log_sum_exp(-rows.values, rows.negative, rows.weighed)
        losses = (pull + push + (self.margin - self.positive_margin)).clamp_min(0)
        return Judged(losses, active=((losses > 0) & (rows.share > 0)).long())

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        if self.form == "original":
            total, active, terms = self._original(comparison.distances, as_pairs(selection, comparison))
            value = reduce(total, active, terms, self.reduction)
            return LossOutput(value, active, terms, mean_part(total, terms, self.reduction))
        rule = pairs.log_sums(self.margin - self.positive_margin)
        found = over_rows(comparison, unbanded(selection), rule)
        (total,), active, terms = found.totals, found.active[0], found.valid.sum()
        scale = reduce(torch.ones_like(total), active, terms, self.reduction)
        return found.output(scale, active, terms, mean_part(total, terms, self.reduction))

    def _original(self, distances: Tensor, chosen: Pairs) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            known = chosen.negative.any(1, keepdim=True)
            pushes, push = masked_softmax(-distances, numbers(chosen.negative, distances.dtype))
            # Far below every other log-sum, and finite.
            push = (push + self.margin).masked_fill(~known, torch.finfo(distances.dtype).min / 4)
            own = slice(0, len(distances))
            positive = chosen.positive[:, own] & (known | known.T)
            both = torch.logaddexp(push, push.T)
            excess = (distances[:, own] + both).sub_(self.positive_margin).clamp_min_(0).mul_(positive)
            share = (push - both).exp_()
            by_push = (excess * share).sum(1) + (excess * (1 - share)).sum(0)
            weights = pushes.mul_(by_push.unsqueeze(1) * known).neg_()
            weights[:, own] += excess
            value = excess.square().sum(dtype=torch.float64) / 2
        total = attach(value, [(distances, weights)])
        return total, (excess > 0).sum(), positive.sum()
