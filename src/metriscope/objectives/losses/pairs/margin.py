"""Margin loss with learnable boundaries."""

from typing import Literal

import torch
from torch import Tensor, nn

from metriscope.objectives.arguments import Count, NonNegative, Positive, Reduction
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels import pairs
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import Inputs, Judged, Rows
from metriscope.objectives.losses.base import Loss, mean_part, reduce
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, Triplets, unbanded


class MarginLoss(Loss):
    """Positives max(0, d - beta + margin), negatives max(0, beta - d + margin), with beta learned.

    Wu et al., arXiv:1706.07567, with Euclidean distances of normalised embeddings: beta is the
    boundary between positives and negatives, one for all or one per class of the anchor. The paper's part of beta per
    image is left out. Its sampling is ``miner=distance_weighted``; each triplet of a list contributes its two pairs.

    pytorch-metric-learning's ``MarginLoss`` turns pairs into all their triplets, so that a pair counts once for
    each triplet it is in (``count=triplets``), divides by the non-zero terms (``reduction=mean_active``) and by default
    keeps beta fixed. With these settings the two losses are equal, except for its nu with one learned beta per class:
    there it adds nu times the sum over triplets of their anchor's beta, divided by the non-zero terms.

    Args:
        num_classes: of the training set.
        embedding_size: not used.
        margin: alpha, in units of the distance, at least 0.
        beta: initial boundary, in units of the distance, above 0.
        learn_beta: whether boundaries are parameters of the loss.
        beta_per_class: one boundary per class rather than one for all; a class outside the training set gets their
            mean.
        nu: weight of the anchors' mean beta, added to the loss to keep learned boundaries small, at least 0. With fixed
            boundaries nothing is added, as in pytorch-metric-learning: it would be a constant.
        count: ``pairs`` counts each pair once, ``triplets`` once for each triplet with it.
        reduction: ``mean`` over all terms, ``sum``, or ``mean_active`` over non-zero terms.

    ``terms`` are pairs, counted according to ``count``, ``active`` those with a non-zero hinge.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = True
    paper = "arXiv:1706.07567"
    beta: Tensor

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        margin: NonNegative = 0.2,
        beta: Positive = 1.2,
        learn_beta: bool = True,
        beta_per_class: bool = True,
        nu: NonNegative = 0.0,
        count: Literal["pairs", "triplets"] = "pairs",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.margin = margin
        # Boundaries that stay where they are need nothing that keeps them small.
        self.nu = nu if learn_beta else 0.0
        self.bound_to_classes = learn_beta and beta_per_class
        self.count = count
        self.reduction = reduction
        start = torch.full((num_classes if beta_per_class else 1,), float(beta))
        if learn_beta:
            self.beta = nn.Parameter(start)
        else:
            self.register_buffer("beta", start)

    def boundaries(self, labels: Tensor) -> Tensor:
        """(B,) labels -> (B,) betas."""
        last = len(self.beta) - 1
        if last == 0:
            return self.beta.expand(len(labels))
        return torch.where(labels <= last, self.beta[labels.clamp_max(last)], self.beta.mean())

    def formula(self, rows: Rows) -> Judged:
        """Sums of the hinges (r, 1) of some anchors with their boundaries, differentiable, and counts of both kinds."""
        assert rows.anchors is not None
        excess = rows.values - rows.anchors
        both = (rows.sizes > 0).all(1, keepdim=True)
        sums, counts = [], []
        for side, (mask, sign) in enumerate(((rows.positive, 1), (rows.negative, -1))):
            hinges = (sign * excess + self.margin).clamp_min(0) * mask
            # A pair counts once for each pair of the other kind, in anchors that have both.
            times = rows.sizes[:, 1 - side].unsqueeze(1) * both if self.count == "triplets" else 1
            sums.append(hinges.sum(1, keepdim=True) * times)
            counts.append((hinges > 0).sum(1, keepdim=True) * times)
        return Judged(sums[0] + sums[1], active=torch.cat(counts, 1))

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        betas = self.boundaries(comparison.anchors.labels).to(comparison.prepared[0].dtype).unsqueeze(1)
        if isinstance(selection, Triplets):
            selection.check_pairs()
            output = self._list(comparison.distances - betas, selection)
        else:
            output = self._pairs(betas, comparison, selection)
        parts = {**output.parts, "beta": betas.detach().mean()}
        value = output.value
        if self.nu:
            value = value + self.nu * betas.mean() * (output.terms > 0)
        return output._replace(value=value, parts=parts)

    def _pairs(self, betas: Tensor, comparison: Comparison, selection: Selection) -> LossOutput:
        rule = pairs.boundaries(self.margin, self.count == "triplets")
        found = over_rows(comparison, unbanded(selection), rule, Inputs(betas))
        sizes, (total,) = found.sizes, found.totals
        terms = sizes.prod(1).sum().expand(2) if self.count == "triplets" else sizes.sum(0)
        scale = reduce(torch.ones_like(total), found.active.sum(), terms.sum(), self.reduction)
        return found.output(scale, found.active.sum(), terms.sum(), self._parts(total, found.active, terms))

    def _list(self, excess: Tensor, selection: Triplets) -> LossOutput:
        kinds = ((selection.positive, 1), (selection.negative, -1))
        hinges = torch.stack([sign * excess[selection.anchor, column] + self.margin for column, sign in kinds])
        hinges = hinges.clamp_min(0) * selection.valid
        total, active, terms = hinges.sum(), (hinges.detach() > 0).sum(1), selection.valid.sum().expand(2)
        value = reduce(total, active.sum(), terms.sum(), self.reduction)
        return LossOutput(value, active.sum(), terms.sum(), self._parts(total, active, terms))

    def _parts(self, total: Tensor, active: Tensor, terms: Tensor) -> dict[str, Tensor]:
        ratios = active / terms.clamp_min(1)
        parts = {"active_ratio_positive": ratios[0], "active_ratio_negative": ratios[1]}
        return parts | mean_part(total, terms.sum(), self.reduction)
