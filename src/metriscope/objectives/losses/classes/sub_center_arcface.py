"""Sub-center ArcFace: several vectors for each class, of which the closest counts."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count, Positive, Radians
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.classes.proxies import ProxyLoss, add_angle, own_scores, softmax_loss
from metriscope.objectives.losses.classes.synthesis import Synthesis, check_one_vector
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class _Closest(torch.autograd.Function):
    """Maximum over dimension 1 with a custom backward (4 times as fast as autograd's); ties split the gradient."""

    @staticmethod
    def forward(ctx: Any, similarities: Tensor) -> Tensor:
        closest = similarities.amax(1)
        ctx.save_for_backward(similarities, closest)
        return closest

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        similarities, closest = ctx.saved_tensors
        # 1 at a maximum, else 0.
        wins = (similarities - closest.unsqueeze(1)).sign_().add_(1)
        return wins.mul_((grad / wins.sum(1)).unsqueeze(1))


class SubCenterArcFaceLoss(ProxyLoss):
    """ArcFace with cos(theta_j) = max_k cos(x, w_jk): the angle to the closest of K vectors of class j.

    Noisy or unusual samples gather around vectors of their own, away from the vectors of clean samples. Deng et al.,
    "Sub-center ArcFace: Boosting Face Recognition by Large-scale Noisy Web Faces", ECCV 2020. ``active`` and ``terms``
    both count samples.

    pytorch-metric-learning has the same loss with the margin in degrees. ``similarities`` are those to all K C vectors;
    for each sample only one vector of a class has a weight.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        margin: m in radians, between 0 and pi.
        scale: s, above 0.
        sub_centers: K, vectors for each class, at least 1.
        synthesis: see :class:`ProxyLoss`; with one vector for each class alone.
    """

    paper = "ECCV 2020 (Deng et al.)"

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        margin: Radians = 0.5,
        scale: Positive = 64.0,
        sub_centers: Count = 3,
        synthesis: Synthesis | None = None,
    ) -> None:
        super().__init__(num_classes, embedding_size, sub_centers, synthesis)
        self.margin = margin
        self.scale = scale

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        super().check(arguments)
        check_one_vector(arguments, "sub_centers")

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        own, similarities, real, _ = self.compared(comparison)
        closest: Tensor = _Closest.apply(self.by_class(similarities))
        target = add_angle(own_scores(closest, own), self.margin)
        return softmax_loss(closest, own, self.scale, target, real)
