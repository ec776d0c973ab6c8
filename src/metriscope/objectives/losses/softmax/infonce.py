"""InfoNCE with labels."""

from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Positive
from metriscope.objectives.kernels import softmax
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.losses.softmax.softmax_row import SoftmaxRowLoss
from metriscope.objectives.losses.softmax.tempered import Share
from metriscope.objectives.numerics import log_sum_exp, soft_hinge


class InfoNCELoss(SoftmaxRowLoss):
    """Mean over positive pairs (a, p) of -log(exp(s_ap / t) / (exp(s_ap / t) + sum_n exp(s_an / t))).

    Van den Oord et al., arXiv:1807.03748, with cosine similarity over a temperature as the logarithm of
    the density ratio. Each positive makes its own term, which leaves out the anchor's other positives: one positive
    among negatives, as in the paper. (``supcon`` has all positives in the denominator.) Anchors without a negative are
    left out.

    Equals pytorch-metric-learning's ``NTXentLoss`` except for the positives of anchors without a selected negative,
    which that loss counts as zeros.

    Args:
        temperature: t, above 0; the paper has no temperature, pytorch-metric-learning uses 0.07.
        focal: each term times (1 - p)^focal, p the chance of its positive, which mutes pairs that are solved; see
            ``supcon``. None for 0.
        focal_detach: whether these weights are held fixed; None for no.
        smoothing: e, the share of a term's target that is spread evenly over its positive and the negatives, below 1;
            0.1 in Deuser et al., Sample4Geo, arXiv:2303.11851 (as read in the authors' code). None for 0.
        learn_temperature: whether t is learned, from ``temperature`` on and without bounds, with the loss's learning
            rate (``optimizer.lr_loss``), as there; the part ``temperature`` tells it. None for no.

    With one positive for each anchor, all of it equals ``supcon``. ``terms`` are the positive pairs of the mean, all of
    them active.
    """

    paper = "arXiv:1807.03748"
    per_pair = True

    def __init__(
        self,
        temperature: Positive = 0.07,
        focal: NonNegative | None = None,
        focal_detach: bool | None = None,
        smoothing: Share | None = None,
        learn_temperature: bool | None = None,
    ) -> None:
        super().__init__(temperature, focal, focal_detach, smoothing, learn_temperature)

    def formula(self, rows: Rows) -> Tensor:
        logits = self.logits(rows.values)
        terms = self.focal_terms(-soft_hinge(log_sum_exp(logits, rows.negative, rows.weighed) - logits))
        if self.smoothing:
            count, total = (x.sum(1, keepdim=True) for x in (rows.negative, rows.negative * logits))
            terms = terms + self.smoothing * (logits - (logits + total) / (1 + count))
        return (terms * rows.positive).sum(1, keepdim=True)

    def kernel(self) -> Rule | None:
        return softmax.one_among_negatives(self.temperature) if self.plain() else None
