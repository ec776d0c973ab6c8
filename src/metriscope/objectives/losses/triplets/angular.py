"""Angular loss."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.chunks import chunk_elements
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.gradient import attach
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.numerics import numbers, softplus
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, as_pairs


class AngularLoss(Loss):
    """Mean over positive pairs (a, p) of log(1 + sum_n e^(4 t (a + p) n - 2 (1 + t) a p)), t = tan(alpha)^2.

    Wang et al., arXiv:1708.01682, in its batch form, with products of normalised embeddings: the angle at the negative,
    in the triangle that it forms with a pair, is pushed below ``alpha``. The paper has one positive for each anchor;
    here every positive pair is a term. Products with a positive are known for samples of the batch only, so positives
    are in the batch, and a memory adds only negatives.

    The sum over negatives is a matrix product, E E^T with E = e^(4 t (s - 1)). On a CPU, which waits for the sizes of
    classes, it is computed class by class; elsewhere and in a compiled graph, for all rows at once. A term depends on
    the rows of both its samples, so the matrix of distances is kept: memory O(B R).

    Equal to pytorch-metric-learning's ``AngularLoss`` on normalised embeddings; that library does not normalise
    negatives, and ignores a miner's selection of negatives.

    Args:
        alpha: in degrees, above 0 and at most 65, where the exponentials still fit into float32; 36 to 55 in the paper.

    ``terms`` are the positive pairs whose anchor has a negative, all of them active.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    paper = "arXiv:1708.01682"
    not_across = dict.fromkeys(("other",), "a term needs the distance of positive and negative, which are of one side")

    def __init__(self, alpha: Annotated[float, Field(gt=0, le=65)] = 45.0) -> None:
        super().__init__()
        self.alpha = alpha

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        pairs = as_pairs(selection, comparison)
        chosen = None if pairs.negative is comparison.negative else pairs.negative
        similarities = comparison.similarities
        with torch.no_grad(), torch.autocast(similarities.device.type, enabled=False):
            total = torch.zeros((), dtype=torch.float64, device=similarities.device)
            terms = torch.zeros((), dtype=torch.int64, device=similarities.device)
            weights = torch.zeros_like(similarities)
            limit = chunk_elements(similarities)
            for members in _groups(comparison.anchors.labels):
                step = max(1, limit // max(1, members.shape[1] * similarities.shape[1]))
                for some in torch.split(members, step):
                    losses, count = self._judge(
                        similarities.detach(), pairs.positive, comparison.negative, chosen, some, weights
                    )
                    total += losses
                    terms += count
        attached = attach(total, [(similarities, weights)])
        return LossOutput(attached / terms.clamp_min(1), terms, terms, {})

    def _judge(
        self,
        similarities: Tensor,
        positive: Tensor,
        negative: Tensor,
        chosen: Tensor | None,
        members: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Sum and number of terms within each of c groups of k rows, (c, k); adds to ``weights`` in place."""
        tangent = math.tan(math.radians(self.alpha)) ** 2
        far, near = 4 * tangent, 2 * (1 + tangent)
        size = members.numel()
        flat = members.flatten()
        rows = similarities[flat].sub_(1).mul_(far).exp_().mul_(numbers(negative[flat], similarities.dtype))
        ends = rows.view(*members.shape, -1)
        starts = ends if chosen is None else (rows * numbers(chosen[flat], rows.dtype)).view_as(ends)
        inside = (members.unsqueeze(2), members.unsqueeze(1))
        sums = starts @ ends.mT
        valid = positive[inside] & (sums > 0)
        sums.clamp_min_(torch.finfo(sums.dtype).tiny)
        logits = sums.log().add_(2 * far).sub_(similarities[inside], alpha=near)
        losses, slopes = softplus(logits)
        total = losses.mul_(valid).sum(dtype=torch.float64)
        slopes.mul_(valid)
        ratios = slopes / sums
        if chosen is None:
            by_rows = ((ratios + ratios.mT) @ ends).mul_(ends)
        else:
            by_rows = (ratios @ ends).mul_(starts).add_((ratios.mT @ starts).mul_(ends))
        weights.index_copy_(0, flat, by_rows.view(size, -1).mul_(far))
        weights.index_put_(inside, slopes.mul_(-near), accumulate=True)
        return total, valid.sum()


def _groups(labels: Tensor) -> list[Tensor]:
    """Rows that share a label, as (c, k) for the c classes of each size k; all rows as one if the host cannot wait."""
    if labels.device.type != "cpu" or torch.compiler.is_compiling():
        return [torch.arange(len(labels), device=labels.device).unsqueeze(0)]
    order = labels.argsort(stable=True)
    _, sizes = torch.unique_consecutive(labels[order], return_counts=True)
    ends = sizes.cumsum(0)
    groups = []
    for size in sorted(set(sizes.tolist())):
        first = (ends - size)[sizes == size]
        if size > 1:
            groups.append(order[first.unsqueeze(1) + torch.arange(size)])
    return groups
