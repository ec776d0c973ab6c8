"""Normalised softmax: classification by cosine."""

from metriscope.objectives.arguments import Count, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.classes.proxies import ProxyLoss, softmax_loss
from metriscope.objectives.losses.classes.synthesis import Synthesis
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class NormalizedSoftmaxLoss(ProxyLoss):
    """-log e^{cos(x, p_y) / T} / sum_c e^{cos(x, p_c) / T}.

    Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning", arXiv:1811.12649;
    the layer normalisation that the paper puts before it belongs to the head. ``active`` and ``terms`` both count
    samples. pytorch-metric-learning has the same loss.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        temperature: T, above 0.
        synthesis: see :class:`ProxyLoss`.
    """

    paper = "arXiv:1811.12649"

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        temperature: Positive = 0.05,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__(num_classes, embedding_size, synthesis=synthesis)
        self.temperature = temperature

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        own, similarities, real, _ = self.compared(comparison)
        return softmax_loss(similarities, own, 1 / self.temperature, similarities=real)
