"""Large-margin softmax: softmax over classes with a factor on the angle."""

import torch
from torch import Tensor, nn

from metriscope.objectives.arguments import Count, Positive
from metriscope.objectives.losses.classes.multiplied_angle import MultipliedAngleLoss
from metriscope.objectives.losses.classes.synthesis import Synthesis


class LargeMarginSoftmaxLoss(MultipliedAngleLoss):
    """-log e^{s |x| |w_y| psi(theta_y)} / (e^{s |x| |w_y| psi(theta_y)} + sum_{j != y} e^{s |x| |w_j| cos(theta_j)}).

    psi(theta) = (-1)^k cos(m theta) - 2 k for theta between k pi / m and (k + 1) pi / m. theta_j is the angle between
    the embedding x and the vector w_j of class j. Liu et al., arXiv:1612.02295, equations 4 to 7 (as read in
    pytorch-metric-learning, not in the paper). The annealing with which the authors train, a mean of psi and the cosine
    whose share grows, is left out. psi is flat at each k pi / m, so with m = 4 an embedding at right angles to its
    vector is hardly pulled. ``active`` and ``terms`` both count samples; ``similarities`` are the cosines, beside which
    the lengths of embeddings count.

    Equal to pytorch-metric-learning's ``LargeMarginSoftmaxLoss`` without a miner and a regulariser of weights, whose
    slope at exactly theta = pi has the other sign.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`. Components of the vectors are drawn from N(0, 1), because
            their lengths count.
        margin: m, a whole number of at least 1; 1 is the softmax without a margin.
        scale: s, above 0; 1 in the paper.
        synthesis: see :class:`ProxyLoss`.
    """

    paper = "arXiv:1612.02295"

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        margin: Count = 4,
        scale: Positive = 1.0,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__(num_classes, embedding_size, margin, scale, synthesis)
        nn.init.normal_(self.proxies)

    def lengths(self, proxies: Tensor) -> Tensor:
        lengths: Tensor = torch.linalg.vector_norm(proxies, dim=1)
        return lengths
