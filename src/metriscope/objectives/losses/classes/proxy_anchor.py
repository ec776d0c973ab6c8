"""Proxy-Anchor: proxies are the anchors, compared with all samples of the batch."""

import math

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count, Positive, UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.classes.proxies import ProxyLoss, own_scores
from metriscope.objectives.losses.classes.synthesis import Synthesis
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class ProxyAnchorLoss(ProxyLoss):
    """1/|P+| sum_{p in P+} log(1 + sum_{x of p} e^{-a (s(x, p) - m)})
    + 1/|P| sum_p log(1 + sum_{x not of p} e^{a (s(x, p) + m)}).

    s is the cosine similarity, P all proxies, P+ those with a sample of their class in the batch. Kim et al.,
    arXiv:2003.13911. ``active`` and ``terms`` both count logarithms of more than 1: the proxies with
    a positive sample and the proxies with a negative one. pytorch-metric-learning has the same loss.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        margin: m, a cosine similarity, from 0 to 1.
        alpha: a, the sharpness, above 0.
        synthesis: see :class:`ProxyLoss`; synthetic classes are among P and P+.

    The paper's learning rate of proxies is 100 times that of the network.
    """

    paper = "arXiv:2003.13911"

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        margin: UnitInterval = 0.1,
        alpha: Positive = 32.0,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__(num_classes, embedding_size, synthesis=synthesis)
        self.margin = margin
        self.alpha = alpha

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        compared = self.compared(comparison)
        own, similarities, columns = compared.own, compared.similarities, compared.similarities.shape[1]
        classes = compared.number_of_classes(self.num_classes)
        members = own.known.new_zeros(columns, dtype=torch.int64).index_add(0, own.column, own.known.long())
        has_positive, has_negative = members > 0, members < own.terms

        pulls = (self.alpha * (self.margin - own_scores(similarities, own))).masked_fill(~own.known, -math.inf)
        pushes = (self.alpha * (similarities + self.margin)).masked_fill(~own.known.unsqueeze(1), -math.inf)
        pushes = pushes.scatter(1, own.column.unsqueeze(1), -math.inf)
        pulled = _log_one_plus_by_class(pulls, own.column, columns).sum() / has_positive.sum().clamp_min(1)
        pushed = _log_one_plus(pushes).sum() / classes
        # Columns that stand for no class have no positive, and no negative either.
        terms = has_positive.sum() + has_negative.sum() - (columns - classes) * (own.terms > 0)
        return LossOutput(pulled + pushed, terms, terms, {}, compared.real)


def _log_one_plus(exponents: Tensor) -> Tensor:
    """log(1 + sum_i e^{x_ij}) for each column j; exponents of -inf add nothing, and get a gradient of 0."""
    # The 1 is e^0, so the largest exponent is 0 at least.
    highest = exponents.detach().amax(0).clamp_min(0) if len(exponents) else exponents.new_zeros(exponents.shape[1])
    return ((exponents - highest).exp().sum(0) + (-highest).exp()).log() + highest


def _log_one_plus_by_class(exponents: Tensor, classes: Tensor, num_classes: int) -> Tensor:
    """log(1 + sum_{i of c} e^{x_i}) for each class c, from (B,) exponents and classes."""
    highest = exponents.new_zeros(num_classes).scatter_reduce(0, classes, exponents.detach(), "amax")
    shifted = (exponents - highest[classes]).exp()
    return ((-highest).exp().index_add(0, classes, shifted)).log() + highest
