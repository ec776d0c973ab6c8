"""Proto-Triplet: a triplet hinge between a sample, the mean of its class and the nearest mean of another class."""

import math

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count, NonNegative
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.distances.base import precise
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.numerics import squares
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


class ProtoTripletLoss(Loss):
    """Mean over samples i of max(0, ||z_i - c_y|| - min_{k != y} ||z_i - c_k|| + m), c_k the mean of class k.

    Mendez-Ruiz et al., SuSana Distancia, arXiv:2305.09062 (verified in the authors' code, maumruiz/FSL-Loss; the
    equations of the paper were not read). Means are plain, not normalised, and gradients flow into their members. The
    authors' distance is sqrt(||.||^2 + 1e-6); here it is Euclidean whatever ``distance`` says, with a gradient of 0
    at 0.

    - ``split=null``: every sample is a query, and the mean of its own class leaves it out. A class of one sample gives
      no query, but is another class to others. The distance to the mean without i is n / (n - 1) times that to the mean
      with it, n the samples of the class.
    - ``split=K``: the episodes of the paper. The first K samples of each class in the batch are its support, of which
      the mean is made, and the others are queries; a class of one sample gives neither.

    Further references (a memory) come after the batch in this order, and are in the means. O(B D C + R D C) for C
    classes in a batch; where the host would have to wait for their number (on a GPU), C is R.

    The other loss of the paper, -log of the ICNN score, is not here.

    Args:
        margin: m, at least 0; 0.5 in the authors' code.
        split: K, at least 1. None to leave each sample out of the mean of its class.

    ``terms`` are the queries for which there is a mean of their own and of another class, ``active`` those with a
    non-zero hinge.
    """

    accepts = frozenset({"none"})
    hinge = True
    paper = "arXiv:2305.09062"
    not_across = dict.fromkeys(("other", "same"), "it compares with means of classes, which have no side")

    def __init__(self, margin: NonNegative = 0.5, split: Count | None = None) -> None:
        super().__init__()
        self.margin = margin
        self.split = split

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        every, never = comparison.references, comparison.classes.never
        anchors, references = precise(comparison.anchors.embeddings), precise(every.embeddings)
        mine = slice(comparison.first, comparison.first + len(anchors))
        classes, place, size = _classes(every.labels)
        used = every.labels >= 0 if never is None else (every.labels >= 0) & ~never
        if self.split is not None:
            used = used & (place < self.split) & (size > 1)
        columns = torch.arange(_number(classes), device=classes.device)
        members = ((classes == columns.unsqueeze(1)) & used).to(references.dtype)
        counts = members.sum(1)
        own, found = classes[mine], counts > 0
        with torch.autocast(references.device.type, enabled=False):
            means = members @ references / counts.clamp_min(1).unsqueeze(1)
            nearest, several = _nearest_other(anchors, means, (columns != own.unsqueeze(1)) & found)
        to_own, to_other = (torch.linalg.vector_norm(anchors - means[k], dim=1) for k in (own, nearest))

        queries, mates = (every.labels[mine] >= 0) & several, counts[own]
        if self.split is None:
            itself = used[mine].to(mates.dtype)
            queries = queries & (mates > itself)
            to_own = to_own * (mates / (mates - itself).clamp_min(1))
        else:
            queries = queries & ~used[mine] & (mates > 0)
        hinges = torch.where(queries, to_own - to_other + self.margin, 0).clamp_min(0)
        terms = queries.sum()
        return LossOutput(hinges.sum() / terms.clamp_min(1), (hinges > 0).sum(), terms, {})


@torch.no_grad()
def _nearest_other(anchors: Tensor, means: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """(B,), the nearest of some means (C, D) for each anchor, and whether there is any."""
    if not len(means):
        return anchors.new_zeros(len(anchors), dtype=torch.int64), others.any(1)
    # The square of the distance, without what does not depend on the mean.
    squared = torch.addmm(squares(means), anchors, means.T, alpha=-2)
    return squared.masked_fill_(~others, math.inf).argmin(1), others.any(1)


def _classes(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(R,) each: a small number for each class, how many of the class come before, and how many there are."""
    ordered, order = labels.sort(stable=True)
    start = torch.searchsorted(ordered, labels)
    size = torch.searchsorted(ordered, labels, right=True) - start
    position = torch.empty_like(order).scatter_(0, order, torch.arange(len(labels), device=labels.device))
    if _may_look(labels):
        return torch.unique(start, return_inverse=True)[1], position - start, size
    return start, position - start, size


def _number(classes: Tensor) -> int:
    """How many columns hold all classes."""
    return int(classes.max()) + 1 if _may_look(classes) else len(classes)


def _may_look(labels: Tensor) -> bool:
    return labels.device.type == "cpu" and not torch.compiler.is_compiling() and len(labels) > 0
