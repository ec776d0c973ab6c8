"""CosFace: softmax over classes with an additive margin on the cosine."""

from metriscope.objectives.arguments import CosineGap, Count, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.classes.proxies import ProxyLoss, own_scores, softmax_loss
from metriscope.objectives.losses.classes.synthesis import Synthesis
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class CosFaceLoss(ProxyLoss):
    """-log e^{s (cos(theta_y) - m)} / (e^{s (cos(theta_y) - m)} + sum_{j != y} e^{s cos(theta_j)}).

    CosFace, or large margin cosine loss: Wang et al., arXiv:1801.09414; also AM-softmax
    (arXiv:1801.05599). ``active`` and ``terms`` both count samples. pytorch-metric-learning has the same loss.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        margin: m, in units of cosine similarity, between 0 and 2.
        scale: s, above 0.
        synthesis: see :class:`ProxyLoss`.
    """

    paper = "arXiv:1801.09414"

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        margin: CosineGap = 0.35,
        scale: Positive = 64.0,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__(num_classes, embedding_size, synthesis=synthesis)
        self.margin = margin
        self.scale = scale

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        own, similarities, real, _ = self.compared(comparison)
        return softmax_loss(similarities, own, self.scale, own_scores(similarities, own) - self.margin, real)
