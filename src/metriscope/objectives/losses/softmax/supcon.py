"""Supervised contrastive loss (SCL)."""

import torch
from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Positive
from metriscope.objectives.kernels import softmax
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.losses.softmax.softmax_row import SoftmaxRowLoss
from metriscope.objectives.losses.softmax.tempered import Share
from metriscope.objectives.numerics import log_sum_exp, mean_of


class SupConLoss(SoftmaxRowLoss):
    """Mean over anchors i of -1/|P(i)| sum_{p in P(i)} log(exp(s_ip / t) / sum_{a in A(i)} exp(s_ia / t)).

    L_out of Khosla et al., arXiv:2004.11362: s the cosine similarity, t the temperature, P(i) the
    positives of i and A(i) its positives and negatives, that is everything but i itself. The mean over
    positives is outside the logarithm. Anchors without a positive or without a negative are left out.

    pytorch-metric-learning's ``SupConLoss`` is the same, with two exceptions: that library counts an anchor without a
    selected negative, and leaves out an anchor whose loss is exactly zero.

    Args:
        temperature: t, above 0; 0.1 in the paper.
        focal: the logarithm of each p_ip, the fraction above, times (1 - p_ip)^focal, which mutes pairs that are
            solved: 1 for the focal contrastive loss of Zhang et al., Core-tuning, arXiv:2102.06605 (as read in the
            authors' code, which divides by the number of all samples where the paper, as remembered, divides by
            |P(i)|; here it is the latter). None for 0.
        focal_detach: whether these weights are held fixed, so that no gradient flows through them; None for no.
        smoothing: e, the share of the target that is spread evenly over A(i), below 1: the targets are
            (1 - e) [j in P(i)] / |P(i)| + e / |A(i)|. 0.1 in Deuser et al., Sample4Geo, arXiv:2303.11851 (as read in
            the authors' code, for one positive). None for 0.
        learn_temperature: whether t is learned, from ``temperature`` on and without bounds, with the loss's learning
            rate (``optimizer.lr_loss``), as there; the part ``temperature`` tells it. None for no.

    ``terms`` are the anchors of the mean, all of them active.
    """

    paper = "arXiv:2004.11362"

    def __init__(
        self,
        temperature: Positive = 0.1,
        focal: NonNegative | None = None,
        focal_detach: bool | None = None,
        smoothing: Share | None = None,
        learn_temperature: bool | None = None,
    ) -> None:
        super().__init__(temperature, focal, focal_detach, smoothing, learn_temperature)

    def formula(self, rows: Rows) -> Tensor:
        if not self.focal:
            return self.likelihood(rows)
        logits = self.logits(rows.values)
        log_chances = logits - log_sum_exp(logits, rows.pulled + rows.negative, rows.weighed)
        # What stands beside the softmax, such as the anchor itself, would have a chance above 1.
        return mean_of(self.focal_terms(torch.where(rows.positive > 0, log_chances, 0)), rows.positive)

    def kernel(self) -> Rule | None:
        return softmax.likelihood(self.temperature) if self.plain() else None
