"""ArcFace: softmax over classes with an additive margin on the angle."""

import math

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count, Positive, Radians
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.classes.proxies import ProxyLoss, own_classes, own_scores, softmax_loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


def add_angle(cosine: Tensor, margin: float) -> Tensor:
    """cos(theta + margin) from cos(theta), without an arc cosine.

    Beyond theta = pi - margin, where cos(theta + margin) would rise again, the result is
    cos(theta) - margin sin(margin), as in the authors' code. Near theta = 0 and pi the derivative of the sine by the
    cosine grows without bound and is taken as 0.

    Args:
        cosine: cos(theta), any shape.
        margin: radians, between 0 and pi.
    """
    sine = (1 - cosine.square()).clamp_min(8 * torch.finfo(cosine.dtype).eps).sqrt()
    moved = cosine * math.cos(margin) - sine * math.sin(margin)
    return torch.where(cosine >= -math.cos(margin), moved, cosine - margin * math.sin(margin))


class ArcFaceLoss(ProxyLoss):
    """-log e^{s cos(theta_y + m)} / (e^{s cos(theta_y + m)} + sum_{j != y} e^{s cos(theta_j)}).

    theta_j is the angle between the embedding and the vector of class j. ArcFace: Deng et al.,
    arXiv:1801.07698. ``active`` and ``terms`` both count samples.

    pytorch-metric-learning has the same loss with the margin in degrees.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        margin: m in radians, between 0 and pi.
        scale: s, above 0.
    """

    paper = "arXiv:1801.07698"

    def __init__(
        self, num_classes: Count, embedding_size: Count, margin: Radians = 0.5, scale: Positive = 64.0
    ) -> None:
        super().__init__(num_classes, embedding_size)
        self.margin = margin
        self.scale = scale

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        own = own_classes(comparison.anchors.labels, self.num_classes)
        similarities = self.similarities(comparison)
        target = add_angle(own_scores(similarities, own), self.margin)
        return softmax_loss(similarities, own, self.scale, target)
