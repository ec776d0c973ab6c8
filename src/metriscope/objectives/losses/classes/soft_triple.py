"""SoftTriple: several centres for each class, weighted softly towards the closest."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metriscope.objectives.arguments import CosineGap, Count, NonNegative, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.classes.proxies import ProxyLoss, own_scores, softmax_loss
from metriscope.objectives.losses.classes.synthesis import Synthesis, check_one_vector
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection
from metriscope.unit import unit_rows

# Lower bound under the root of the regulariser, whose slope at two equal centres is unbounded.
_LEAST_SQUARE = 1e-6


class _Relaxed(torch.autograd.Function):
    """sum_k q_k s_k with q = softmax_k(s / gamma), over dimension 1."""

    @staticmethod
    def forward(ctx: Any, similarities: Tensor, gamma: float) -> Tensor:
        shares = (similarities / gamma).softmax(1)
        relaxed = (shares * similarities).sum(1)
        ctx.gamma = gamma
        ctx.save_for_backward(similarities, shares, relaxed)
        return relaxed

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        similarities, shares, relaxed = ctx.saved_tensors
        # d/ds_k = q_k (1 + (s_k - S) / gamma)
        slope = (similarities - (relaxed - ctx.gamma).unsqueeze(1)).mul_(shares)
        return slope.mul_((grad / ctx.gamma).unsqueeze(1)), None


class SoftTripleLoss(ProxyLoss):
    """-log e^{l (S_y - m)} / (e^{l (S_y - m)} + sum_{j != y} e^{l S_j}) + tau R.

    S_c = sum_k q_k s_ck, the similarities to the K centres of class c weighted by their own softmax
    q = softmax_k(s_ck / gamma). R = sum_c sum_{t < k} sqrt(2 - 2 w_ct . w_ck) / (C K (K - 1)) draws the centres of
    a class together, so that a class keeps only as many as it needs. Qian et al., arXiv:1909.05235, with its
    regulariser. ``active`` and ``terms`` both count samples; the part ``regularizer`` is R.

    pytorch-metric-learning has R as a separate ``SparseCentersRegularizer``, absent by default:
    ``regularizer_weight=0`` equals that.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        centers_per_class: K, at least 1.
        scale: l, above 0.
        gamma: temperature of the softmax over the centres of a class, above 0.
        margin: m, in units of cosine similarity, between 0 and 2.
        regularizer_weight: tau, at least 0.
        synthesis: see :class:`ProxyLoss`; with one centre for each class alone.
    """

    paper = "arXiv:1909.05235"

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        centers_per_class: Count = 10,
        scale: Positive = 20.0,
        gamma: Positive = 0.1,
        margin: CosineGap = 0.01,
        regularizer_weight: NonNegative = 0.2,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__(num_classes, embedding_size, centers_per_class, synthesis)
        self.scale = scale
        self.gamma = gamma
        self.margin = margin
        self.regularizer_weight = regularizer_weight

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        super().check(arguments)
        check_one_vector(arguments, "centers_per_class")

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        own, similarities, real, _ = self.compared(comparison)
        to_centers = self.by_class(similarities)
        scores: Tensor = _Relaxed.apply(to_centers, self.gamma)
        output = softmax_loss(scores, own, self.scale, own_scores(scores, own) - self.margin, real)
        if self.per_class == 1 or self.regularizer_weight == 0:
            return output
        spread = self.spread().to(output.value.dtype)
        # A batch without a term does not regularise centres either.
        weight = self.regularizer_weight * (own.terms > 0)
        return output._replace(value=output.value + weight * spread, parts={"regularizer": spread.detach()})

    def spread(self) -> Tensor:
        """R, half the mean distance between two centres of a class; from 0 to 1."""
        proxies = self.proxies.to(torch.promote_types(self.proxies.dtype, torch.float32))
        with torch.autocast(proxies.device.type, enabled=False):
            centers = unit_rows(proxies).view(self.per_class, self.num_classes, -1).transpose(0, 1)
            squares = 2 - 2 * centers @ centers.transpose(1, 2)
        above = torch.ones_like(squares[0]).triu(1)
        pairs = self.num_classes * self.per_class * (self.per_class - 1)
        return (squares.clamp_min(_LEAST_SQUARE).sqrt() * above).sum() / pairs
