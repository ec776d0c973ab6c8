"""SphereFace: softmax over classes of unit length with a factor on the angle."""

from torch import Tensor

from metriscope.objectives.arguments import Count, Positive
from metriscope.objectives.losses.classes.multiplied_angle import MultipliedAngleLoss
from metriscope.objectives.losses.classes.synthesis import Synthesis


class SphereFaceLoss(MultipliedAngleLoss):
    """-log e^{s |x| psi(theta_y)} / (e^{s |x| psi(theta_y)} + sum_{j != y} e^{s |x| cos(theta_j)}).

    psi(theta) = (-1)^k cos(m theta) - 2 k for theta between k pi / m and (k + 1) pi / m. theta_j is the angle between
    the embedding x and the vector of class j, whose length does not count. A-softmax of Liu et al., arXiv:1704.08063
    (as read in pytorch-metric-learning, not in the paper), without the authors' annealing. psi is flat at each
    k pi / m, so with m = 4 an embedding at right angles to its vector is hardly pulled. ``active`` and ``terms`` both
    count samples; ``similarities`` are the cosines, beside which the lengths of embeddings count.

    Equal to pytorch-metric-learning's ``SphereFaceLoss`` without a miner and a regulariser of weights, whose slope at
    exactly theta = pi has the other sign.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        margin: m, a whole number of at least 1; 4 in the paper.
        scale: s, above 0; 1 in the paper, whose embeddings have any length. Embeddings of unit length
            (``head.normalize=true``) need more, as those of :class:`CosFaceLoss`.
        synthesis: see :class:`ProxyLoss`.
    """

    paper = "arXiv:1704.08063"

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        margin: Count = 4,
        scale: Positive = 1.0,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__(num_classes, embedding_size, margin, scale, synthesis)

    def lengths(self, proxies: Tensor) -> Tensor:
        return proxies.new_ones(len(proxies))
