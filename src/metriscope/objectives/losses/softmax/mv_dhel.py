"""MV-DHEL: one sum for all views of an image, or all samples of a class, which are pushed one by one."""

import math
from typing import Literal

from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.losses.softmax.multi_view import Groups, MultiViewLoss, Pulled, Views


class MVDHELLoss(MultiViewLoss):
    """Mean over groups g of -log sum_{i < p in g} e^{s_ip / t} + sum_{i in g} log sum_{n not in g} e^{s_in / t}.

    Koromilas et al., arXiv:2507.06979 (verified in the authors' code, pakoromilas/Multi-View-CL; its README differs by
    a constant and by j = i): s is the cosine similarity, and groups are those of ``mv_infonce``. Positives are in no
    denominator. In the paper a view is compared with views of other images under its own augmentation alone
    (``negatives=same_view``): here the k-th sample of a group with the k-th of each other one, by their order in the
    batch. ``negatives=all`` takes every sample of another class, and those of a memory.

    The sum over i makes gradients grow with the size of a group: ``repulsion=mean`` has the mean over its samples that
    push.

    A group of one sample has no term, but is pushed by others; without another class there is no term. A sample without
    a partner among other groups pushes nothing. O(B R D), two passes over the pairs.

    Args:
        temperature: t, above 0; 0.5 on CIFAR and 0.1 on ImageNet in the paper.
        negatives: ``same_view`` or ``all``.
        repulsion: ``sum`` as in the paper, or ``mean``.
        views: as of ``mv_infonce``.

    ``terms`` are the groups of the mean, all of them active.
    """

    def __init__(
        self,
        temperature: Positive = 0.5,
        negatives: Literal["same_view", "all"] = "same_view",
        repulsion: Literal["sum", "mean"] = "sum",
        views: Views | None = None,
    ) -> None:
        super().__init__(temperature, views)
        self.negatives = negatives
        if negatives == "same_view":
            self.not_across = {"other": "negatives=same_view pushes views of one kind apart; set it to all"}
        self.repulsion = repulsion

    def partners(self, groups: Groups, rows: slice) -> Tensor | None:
        return groups.place[rows].unsqueeze(1) == groups.place if self.negatives == "same_view" else None

    def factors(self, found: Pulled) -> tuple[Tensor, Tensor]:
        by_pushes = found.pushing.to(found.pushes.dtype)
        if self.repulsion == "mean":
            by_pushes = by_pushes / found.groups.sums(by_pushes).clamp_min(1)
        # Ordered pairs hold each pair of views twice.
        return by_pushes, math.log(2) * found.by_pulls
