"""Contrastive attraction and contrastive repulsion (CACR)."""

from functools import partial
from typing import Literal

import torch
from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import Judged, Rows, Rule
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.numerics import masked_softmax
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, unbanded


class CACRLoss(Loss):
    """Mean over anchors i of alpha sum_p w+_ip d_ip^2 - beta sum_n w-_in d_in^2.

    Zheng et al., arXiv:2105.03746 (verified in the authors' code, JegZheng/CACR-SSL): d^2 = 2 - 2 s with s the cosine
    similarity, w+_i = softmax over the positives of i of t+ d^2, and w-_i = softmax over its negatives of -t- d^2, so
    that far positives and near negatives weigh more. With ``repulsion=rbf`` the second part is
    beta log(mean_i sum_n w-_in exp(-t d_in^2)), the logarithm of a mean over all anchors. Anchors without a positive or
    without a negative are left out.

    In the paper, positives are views of one image and negatives one view of each other image; here labels say. Its
    debiasing by a class prior is left out, because negatives are known. t+ = 0 and t- = 0, uniform weights, are the
    paper's ablations. The authors' small-scale code lets gradients flow through the weights, their ImageNet code does
    not: ``detach_weights`` is the latter.

    The value can be negative, down to -4 beta, so its relative decay and the fit of its decay mean little: read
    the parts ``attraction`` and ``repulsion``, which add up to it.

    Args:
        alpha, beta: factors of attraction and repulsion, at least 0.
        t_positive, t_negative: t+ and t-, which multiply squared distances, at least 0; the authors have t+ = 1 and
            t- = 0.9 on CIFAR-10, 2 on CIFAR-100 and STL-10.
        repulsion: ``squared`` or ``rbf``.
        t_rbf: t of the latter, above 0.
        detach_weights: whether w+ and w- carry no gradient.

    ``terms`` are the anchors of the mean, all of them active. A weight of a pair multiplies its exponential in w. With
    ``rbf``, whose anchors have no loss of their own, a weighting of rows sees their attraction.
    """

    needs_cosines = True
    accepts = frozenset({"all", "pairs", "triplets"})
    weighable = frozenset({"pairs", "rows"})
    hinge = False
    paper = "arXiv:2105.03746"

    def __init__(
        self,
        alpha: NonNegative = 1.0,
        beta: NonNegative = 1.0,
        t_positive: NonNegative = 1.0,
        t_negative: NonNegative = 2.0,
        repulsion: Literal["squared", "rbf"] = "squared",
        t_rbf: Positive = 2.0,
        detach_weights: bool = False,
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.beta = beta
        self.t_positive = t_positive
        self.t_negative = t_negative
        self.repulsion = repulsion
        self.t_rbf = t_rbf
        self.detach_weights = detach_weights

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        chosen = unbanded(selection)
        return self._coupled(comparison, chosen) if self.repulsion == "rbf" else self._squared(comparison, chosen)

    def _weights(self, rows: Rows, squared: Tensor) -> tuple[Tensor, Tensor]:
        """w+ and w-, (r, R) each."""
        pulls, _ = masked_softmax(self.t_positive * squared, rows.positive, rows.weighed)
        pushes, _ = masked_softmax(-self.t_negative * squared, rows.negative, rows.weighed)
        return (pulls.detach(), pushes.detach()) if self.detach_weights else (pulls, pushes)

    def _squared(self, comparison: Comparison, selection: Selection) -> LossOutput:
        def formula(rows: Rows) -> Judged:
            squared = 2 - 2 * rows.values
            pulls, pushes = self._weights(rows, squared)
            attraction = self.alpha * (pulls * squared).sum(1)
            repulsion = -self.beta * (pushes * squared).sum(1)
            return Judged(torch.stack([attraction + repulsion, attraction, repulsion], 1))

        found = over_rows(comparison, selection, Rule(formula, reported=2, plain=True))
        terms = found.valid.sum()
        scale = 1 / terms.clamp_min(1).double()
        attraction, repulsion = (found.losses[:, 1:].sum(0, dtype=torch.float64) * scale).unbind()
        output = found.output(scale, terms, terms, {"attraction": attraction, "repulsion": repulsion})
        return output._replace(rows=found.losses[:, 0], counts=found.valid.squeeze(1).long())

    def _coupled(self, comparison: Comparison, selection: Selection) -> LossOutput:
        def formula(rows: Rows) -> Judged:
            squared = 2 - 2 * rows.values
            pulls, pushes = self._weights(rows, squared)
            near = (-self.t_rbf * squared).exp()
            return Judged(torch.stack([self.alpha * (pulls * squared).sum(1), (pushes * near).sum(1)], 1))

        found = over_rows(comparison, selection, Rule(formula, sums=2, plain=True))
        terms = found.valid.sum()
        count = terms.clamp_min(1).double()
        attraction, near = found.totals
        # Exponentials may be too small for their dtype; without anchors, the logarithm is that of 1.
        smallest = torch.finfo(near.dtype).tiny
        mean = torch.where(terms > 0, (near / count.to(near.dtype)).clamp_min(smallest), 1)
        pulled, pushed = attraction / count.to(near.dtype), self.beta * mean.log()
        parts = {"attraction": pulled.detach(), "repulsion": pushed.detach()}
        slopes = None
        if found.slopes is not None:
            inside = (near.detach() / count > smallest) & (terms > 0)
            slope = torch.where(inside, self.beta / (mean.detach().double() * count), 0)
            slopes = partial(found.slopes, [1 / count, slope])
        return LossOutput(pulled + pushed, terms, terms, parts, slopes=slopes, compiled=slopes is None)
