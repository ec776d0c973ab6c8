"""ArcFace: softmax over classes with an additive margin on the angle."""

from metriscope.objectives.arguments import Count, Positive, Radians
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.classes.proxies import ProxyLoss, add_angle, own_scores, softmax_loss
from metriscope.objectives.losses.classes.synthesis import Synthesis
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class ArcFaceLoss(ProxyLoss):
    """-log e^{s cos(theta_y + m)} / (e^{s cos(theta_y + m)} + sum_{j != y} e^{s cos(theta_j)}).

    theta_j is the angle between the embedding and the vector of class j. ArcFace: Deng et al.,
    arXiv:1801.07698. ``active`` and ``terms`` both count samples.

    pytorch-metric-learning has the same loss with the margin in degrees.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        margin: m in radians, between 0 and pi.
        scale: s, above 0.
        synthesis: see :class:`ProxyLoss`.
    """

    paper = "arXiv:1801.07698"

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        margin: Radians = 0.5,
        scale: Positive = 64.0,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__(num_classes, embedding_size, synthesis=synthesis)
        self.margin = margin
        self.scale = scale

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        own, similarities, real, _ = self.compared(comparison)
        target = add_angle(own_scores(similarities, own), self.margin)
        return softmax_loss(similarities, own, self.scale, target, real)
