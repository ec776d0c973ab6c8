"""Proxy-Anchor: proxies are the anchors, compared with all samples of the batch."""

import math

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count, Positive, UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.classes.proxies import ProxyLoss, own_classes, own_scores
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

    The paper's learning rate of proxies is 100 times that of the network.
    """

    paper = "arXiv:2003.13911"

    def __init__(
        self, num_classes: Count, embedding_size: Count, margin: UnitInterval = 0.1, alpha: Positive = 32.0
    ) -> None:
        super().__init__(num_classes, embedding_size)
        self.margin = margin
        self.alpha = alpha

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        own = own_classes(comparison.anchors.labels, self.num_classes)
        similarities = self.similarities(comparison)
        members = own.known.new_zeros(self.num_classes, dtype=torch.int64).index_add(0, own.column, own.known.long())
        has_positive, has_negative = members > 0, members < own.terms

        pulls = (self.alpha * (self.margin - own_scores(similarities, own))).masked_fill(~own.known, -math.inf)
        pushes = (self.alpha * (similarities + self.margin)).masked_fill(~own.known.unsqueeze(1), -math.inf)
        pushes = pushes.scatter(1, own.column.unsqueeze(1), -math.inf)
        pulled = _log_one_plus_by_class(pulls, own.column, self.num_classes).sum() / has_positive.sum().clamp_min(1)
        pushed = _log_one_plus(pushes).sum() / self.num_classes
        terms = has_positive.sum() + has_negative.sum()
        return LossOutput(pulled + pushed, terms, terms, {}, similarities)


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
