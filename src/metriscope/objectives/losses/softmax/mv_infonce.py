"""MV-InfoNCE: one softmax for all views of an image, or for all samples of a class."""

import torch
from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.losses.softmax.multi_view import MultiViewLoss, Pulled, Views


class MVInfoNCELoss(MultiViewLoss):
    """Mean over groups g of -log[sum_{i != p in g} e^{s_ip / t} / sum_{i in g} sum_{j != i} e^{s_ij / t}].

    Koromilas et al., arXiv:2507.06979 (verified in the authors' code, pakoromilas/Multi-View-CL, whose denominator
    holds the positives; its README leaves views of the same image out): s is the cosine similarity, i and p are views
    of one image, j any other sample of the batch. Without such views the group is a class, whose samples are its views:
    one softmax for each class, rather than for each sample as in ``supcon`` or for each pair as in ``infonce``. Views
    of an image are samples of one index; samples of its class that show another image are then neither pulled nor
    pushed.

    A group of one sample has no term, but is pushed by others; without another class there is no term. Samples of a
    memory are only pushed. O(B R D), two passes over the pairs.

    Args:
        temperature: t, above 0; 0.5 on CIFAR and 0.1 on ImageNet in the paper.
        views: ``classes``, or ``images`` for samples of the same index in the training set. None for images where each
            one of the batch is there at least twice, else for classes.

    ``terms`` are the groups of the mean, all of them active.
    """

    together = True

    def __init__(self, temperature: Positive = 0.5, views: Views | None = None) -> None:
        super().__init__(temperature, views)

    def factors(self, found: Pulled) -> tuple[Tensor, Tensor]:
        by_pushes = found.groups.shares(found.pushes, found.pushing)
        return by_pushes, -torch.xlogy(by_pushes, by_pushes)
