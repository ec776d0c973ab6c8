"""Proxy-NCA: neighbourhood components analysis with one proxy for each class."""

import math

from metriscope.objectives.arguments import Count, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.classes.proxies import ProxyLoss, own_scores, softmax_loss
from metriscope.objectives.losses.classes.synthesis import Synthesis
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class ProxyNCALoss(ProxyLoss):
    """-log e^{-d(x, p_y) / T} / sum_{z in Z} e^{-d(x, p_z) / T}, d = ||x - p||^2 between unit vectors.

    Proxy-NCA: Movshovitz-Attias et al., arXiv:1703.07464: Z are the classes other than y, so that the
    value may fall below 0, and T = 1. ``include_positive=true`` sums over all classes; with
    ``temperature=0.1111`` (1/9) that is the loss of ProxyNCA++ (Teh et al., arXiv:2004.01113).
    ``active`` and ``terms`` both count samples; the original form has no terms for a single class.

    pytorch-metric-learning's ``ProxyNCALoss`` has the own class in the sum: ``include_positive=true`` equals it, with
    ``temperature`` one over its ``softmax_scale``.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        temperature: T, in units of squared distance, above 0.
        include_positive: whether the own class is among Z.
        synthesis: see :class:`ProxyLoss`.
    """

    paper = "arXiv:1703.07464"

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        temperature: Positive = 1.0,
        include_positive: bool = False,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__(num_classes, embedding_size, synthesis=synthesis)
        self.temperature = temperature
        self.include_positive = include_positive

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        own, similarities, real, _ = self.compared(comparison)
        # d = 2 - 2 cos, and the constant common to all classes cancels.
        scale = 2 / self.temperature
        if self.include_positive:
            return softmax_loss(similarities, own, scale, similarities=real)
        others = (similarities * scale).scatter(1, own.column.unsqueeze(1), -math.inf)
        if self.num_classes == 1:
            # There is no other class to compare with.
            others, own = others.zero_(), own._replace(known=own.known & False, terms=own.terms * 0)
        terms = others.logsumexp(1) - scale * own_scores(similarities, own)
        value = (terms * own.known).sum() / own.terms.clamp_min(1)
        return LossOutput(value, own.terms, own.terms, {}, real)
