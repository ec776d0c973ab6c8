"""Margin loss with learnable boundaries."""

from typing import Literal

import torch
from torch import Tensor, nn

from metriscope.objectives.arguments import Count, NonNegative, Positive, Reduction
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.gradient import KnownGradient
from metriscope.objectives.kernels.hinged_rows import hinged_rows
from metriscope.objectives.kernels.numerics import numbers
from metriscope.objectives.losses.base import Loss, mean_part, reduce
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, Triplets, as_pairs


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

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        betas = self.boundaries(comparison.anchors.labels).to(comparison.distances.dtype)
        excess = comparison.distances - betas.unsqueeze(1)
        judge = self._list if isinstance(selection, Triplets) else self._pairs
        total, actives, terms = judge(excess, comparison, selection)
        active, count = actives.sum(), terms.sum()
        value = reduce(total, active, count, self.reduction)
        if self.nu:
            value = value + self.nu * betas.mean() * (count > 0)
        ratios = actives / terms.clamp_min(1)
        parts = {"active_ratio_positive": ratios[0], "active_ratio_negative": ratios[1], "beta": betas.detach().mean()}
        return LossOutput(value, active, count, parts | mean_part(total, count, self.reduction))

    def _pairs(self, excess: Tensor, comparison: Comparison, selection: Selection) -> tuple[Tensor, Tensor, Tensor]:
        pairs = as_pairs(selection, comparison)
        found = hinged_rows(
            excess, pairs.positive, pairs.negative, self._rule, counts=2, complete=self.count == "triplets"
        )
        total: Tensor = KnownGradient.apply(excess, found.weights, found.losses.sum(dtype=torch.float64))
        sizes = found.sizes
        terms = sizes.prod(1).sum().expand(2) if self.count == "triplets" else sizes.sum(0)
        return total, found.active, terms

    def _rule(self, rows: Tensor, positive: Tensor, negative: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        pulled = numbers(positive & (rows > -self.margin), rows.dtype)
        pushed = numbers(negative & (rows < self.margin), rows.dtype)
        active = torch.stack([pulled.sum(1), pushed.sum(1)], 1).long()
        if self.count == "triplets":
            times = sizes.flip(1)
            per_pull, per_push = torch.split(times.to(rows.dtype), 1, 1)
            pulled, pushed, active = pulled.mul_(per_pull), pushed.mul_(per_push), active * times
        weights = pulled.sub_(pushed)
        granted = active.sum(1, keepdim=True).to(rows.dtype) * self.margin
        return torch.linalg.vecdot(weights, rows).unsqueeze(1) + granted, weights, active

    def _list(self, excess: Tensor, comparison: Comparison, selection: Selection) -> tuple[Tensor, Tensor, Tensor]:
        assert isinstance(selection, Triplets)
        kinds = ((selection.positive, 1), (selection.negative, -1))
        hinges = torch.stack([sign * excess[selection.anchor, column] + self.margin for column, sign in kinds])
        hinges = hinges.clamp_min(0) * selection.valid
        return hinges.sum(), (hinges.detach() > 0).sum(1), selection.valid.sum().expand(2)
