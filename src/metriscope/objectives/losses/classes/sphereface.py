"""SphereFace: softmax over classes of unit length with a factor on the angle."""

from torch import Tensor

from metriscope.objectives.arguments import Count, Positive
from metriscope.objectives.losses.classes.large_margin_softmax import LargeMarginSoftmaxLoss


class SphereFaceLoss(LargeMarginSoftmaxLoss):
    """-log e^{s |x| psi(theta_y)} / (e^{s |x| psi(theta_y)} + sum_{j != y} e^{s |x| cos(theta_j)}).

    :class:`LargeMarginSoftmaxLoss` with class vectors of unit length, with the same psi: the A-softmax of Liu et al.,
    arXiv:1704.08063 (as read in pytorch-metric-learning, not in the paper). ``active`` and ``terms`` both count
    samples; ``similarities`` are the cosines, beside which the lengths of embeddings count.

    Equal to pytorch-metric-learning's ``SphereFaceLoss`` without a miner and a regulariser of weights.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        margin: m, a whole number of at least 1; 4 in the paper.
        scale: s, above 0; 1 in the paper, whose embeddings have any length. Embeddings of unit length
            (``head.normalize=true``) need more, as those of :class:`CosFaceLoss`.
    """

    paper = "arXiv:1704.08063"

    def __init__(self, num_classes: Count, embedding_size: Count, margin: Count = 4, scale: Positive = 1.0) -> None:
        super().__init__(num_classes, embedding_size, margin, scale)

    def initialise(self) -> None:
        """Leaves the vectors as :class:`ProxyLoss` draws them."""

    def lengths(self, proxies: Tensor) -> Tensor:
        return proxies.new_ones(len(proxies))
