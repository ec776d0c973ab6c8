"""VICReg: variance, invariance and covariance of a batch."""

import torch
from torch import Tensor

from metriscope.objectives.arguments import NonNegative, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.distances.base import precise
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class VICRegLoss(Loss):
    """l mean_i ||z_i - z_p||^2 / D + m mean_d max(0, g - sqrt(var_d + eps)) + 2 n sum_{d != e} cov_de^2 / D.

    Bardes et al., arXiv:2105.04906 (as read in pytorch-metric-learning and in copies of the authors' code, not in the
    paper), as a regulariser of labelled batches: p is the first positive of i in the order of the references, i running
    over samples that have one, and variance and covariance are those of the batch, over its labelled samples, divided
    by their number less 1. The authors compare two views of each image, add the covariance terms of both (hence 2), and
    average their variance terms. Embeddings are taken as they are, whatever the distance.

    Equal to pytorch-metric-learning's ``VICRegLoss`` of a batch and its first positives where each class has two
    samples, so that the positives are the batch in another order.

    Time is O(B R) for the first positives and O(B D^2) for the covariances.

    Args:
        invariance_weight, variance_weight, covariance_weight: l, m and n, at least 0.
        target: g, the standard deviation below which a dimension costs something, above 0; 1 in the paper, whose
            embeddings have any length. Dimensions of embeddings of unit length have one of at most about 1 / sqrt(D).
        epsilon: eps, which keeps the slope of the root finite, above 0.

    The parts ``loss_invariance``, ``loss_variance`` and ``loss_covariance`` add up to the value. ``terms`` are the
    labelled samples, 0 for fewer than two, all of them active.
    """

    needs_cosines = True
    accepts = frozenset({"none"})
    hinge = False
    paper = "arXiv:2105.04906"

    def __init__(
        self,
        invariance_weight: NonNegative = 25.0,
        variance_weight: NonNegative = 25.0,
        covariance_weight: NonNegative = 1.0,
        target: Positive = 1.0,
        epsilon: Positive = 1e-4,
    ) -> None:
        super().__init__()
        self.invariance_weight = invariance_weight
        self.variance_weight = variance_weight
        self.covariance_weight = covariance_weight
        self.target = target
        self.epsilon = epsilon

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        labels = comparison.anchors.labels
        known = (labels >= 0).unsqueeze(1)
        count = known.sum()
        valid = count > 1
        with torch.autocast(labels.device.type, enabled=False):
            z = precise(comparison.anchors.embeddings)
            centred = (z - (z * known).sum(0) / count.clamp_min(1)) * known
            covariances = centred.T @ centred / (count - 1).clamp_min(1)
            deviations = (covariances.diagonal() + self.epsilon).sqrt()
            between = covariances - covariances.diagonal().diag()
            pieces = {
                "loss_invariance": self.invariance_weight * _apart(z, comparison),
                "loss_variance": self.variance_weight * (self.target - deviations).clamp_min(0).mean(),
                "loss_covariance": 2 * self.covariance_weight * between.square().sum() / z.shape[1],
            }
            value = torch.stack(list(pieces.values())).sum() * valid
        parts = {name: (piece * valid).detach() for name, piece in pieces.items()}
        return LossOutput(value, count * valid, count * valid, parts)


def _apart(z: Tensor, comparison: Comparison) -> Tensor:
    """The mean, over samples (B, D) that have a positive, of the mean square of their difference to the first one."""
    if not len(z):
        return z.sum()
    # Of several largest entries max gives the first.
    found = [block.positive.view(torch.int8).max(1) for block in comparison.blocks()]
    present = torch.cat([one.values for one in found]).to(z.dtype)
    firsts = precise(comparison.references.embeddings).index_select(0, torch.cat([one.indices for one in found]))
    return ((z - firsts).square().mean(1) * present).sum() / present.sum().clamp_min(1)
