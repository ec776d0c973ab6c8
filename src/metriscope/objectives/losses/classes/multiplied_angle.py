"""The base class of softmax losses with a factor on the angle to the own class."""

import math

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.classes.proxies import ProxyLoss, own_scores, precise, softmax_loss
from metriscope.objectives.losses.classes.synthesis import Synthesis
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class MultipliedAngleLoss(ProxyLoss):
    """-log e^{s |x| v_y psi(theta_y)} / (e^{s |x| v_y psi(theta_y)} + sum_{j != y} e^{s |x| v_j cos(theta_j)}).

    psi is that of :func:`multiply_angle`, theta_j the angle between the embedding x and the vector of class j, v_j what
    :meth:`lengths` says.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        margin: m, a whole number of at least 1.
        scale: s, above 0.
        synthesis: see :class:`ProxyLoss`.
    """

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        margin: Count,
        scale: Positive,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__(num_classes, embedding_size, synthesis=synthesis)
        self.margin = margin
        self.scale = scale

    def lengths(self, proxies: Tensor) -> Tensor:
        """(C, D) -> (C,), factors of the scores of the classes."""
        raise NotImplementedError

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        compared = self.compared(comparison)
        own, cosines = compared.own, compared.similarities
        embeddings, proxies = precise(comparison.anchors.embeddings, self.proxies)
        own_lengths = torch.linalg.vector_norm(embeddings, dim=1, keepdim=True)
        lengths = compared.lengths(own_lengths, self.lengths(proxies))
        target = multiply_angle(own_scores(cosines, own), self.margin) * own_scores(lengths, own)
        return softmax_loss(compared.hidden(cosines * lengths), own, self.scale, target, compared.real)


def multiply_angle(cosine: Tensor, factor: int) -> Tensor:
    """(-1)^k cos(m theta) - 2 k from cos(theta), k the whole part of m theta / pi; it falls from 1 to 1 - 2 m.

    cos(m theta) is a polynomial of cos(theta), so that no arc cosine is differentiated.

    Args:
        cosine: cos(theta), any shape.
        factor: m, at least 1.
    """
    before, multiple = torch.ones_like(cosine), cosine
    for _ in range(factor - 1):
        before, multiple = multiple, 2 * cosine * multiple - before
    with torch.no_grad():
        turns = (cosine.clamp(-1, 1).acos() * (factor / math.pi)).floor().clamp_max(factor - 1)
        sign = 1 - 2 * turns.remainder(2)
    return sign * multiple - 2 * turns
