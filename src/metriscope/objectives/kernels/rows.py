"""Means over anchors of losses that are functions of the anchor's row of similarities or distances.

A rule returns the losses of a few rows together with their derivative. Rows are therefore processed while they are in
the cache, only the derivative (B, R) is kept for the backward pass, and no loss needs a temporary of the size of the
batch squared.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.chunks import chunk_rows, count_rows
from metriscope.objectives.kernels.gradient import KnownGradient
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs

Rule = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""(rows (r, R), positive, negative (r, R), share (r, 1)) -> losses (r, 1), share * d loss / d rows (r, R).

The two masks are bool, or weights of at least 0 where pairs are weighed. Rows without a positive or a negative have
share 0 and may give any finite numbers.
"""


def most_positives(positive: Tensor) -> int:
    """The largest number of positives of any anchor, at least 1; the host waits for it.

    In a compiled graph, which cannot wait, it is the number of columns.
    """
    if torch.compiler.is_compiling() or not positive.numel():
        return max(1, positive.shape[1])
    return max(1, int(count_rows(positive).max()))


def mean_over_anchors(
    comparison: Comparison,
    pairs: Pairs,
    rule: Rule,
    *,
    of_distances: bool = False,
    per_pair: bool = False,
    elements: int = 1,
    memory_mb: float | None = None,
) -> LossOutput:
    """The mean of a rule over the anchors that have a positive and a negative.

    Args:
        comparison: the comparison to whose distances the loss is attached.
        pairs: the pairs that count, and their weights.
        rule: see :data:`Rule`; a function of similarities, which are computed for a few rows at a time.
        of_distances: whether the rule is a function of distances instead.
        per_pair: whether a row's loss is a sum over its positives and the mean runs over positive pairs.
        elements: temporary elements that the rule needs per element of a row.
        memory_mb: see :func:`metriscope.objectives.kernels.chunks.chunk_elements`.

    Returns:
        A loss with ``active = terms``, the number of anchors or positive pairs in the mean.
    """
    distance, weigh = comparison.distance, comparison.weigh
    # Similarities that a distance with parameters gives depend on these as well: autograd knows how.
    attached_similarities = not of_distances and distance.learns
    matrix = comparison.similarities if attached_similarities else comparison.distances
    as_it_is = of_distances or attached_similarities
    positive, negative = pairs.terms(matrix.dtype)
    with torch.no_grad(), torch.autocast(matrix.device.type, enabled=False):
        counts = count_rows(pairs.positive).unsqueeze(1)
        valid = (counts > 0) & (count_rows(pairs.negative).unsqueeze(1) > 0)
        terms = ((counts if per_pair else 1) * valid).sum()
        share = valid.to(matrix.dtype) / terms.clamp_min(1)
        weights = torch.empty_like(matrix)
        losses = torch.zeros_like(share)
        step = chunk_rows(matrix, memory_mb, elements)
        for start in range(0, matrix.shape[0], step):
            rows = slice(start, start + step)
            own = matrix.detach()[rows]
            judged = own if as_it_is else distance.similarity(own)
            losses[rows], slopes = rule(judged, positive[rows], negative[rows], share[rows])
            weights[rows] = slopes if as_it_is else distance.from_similarity_(slopes, own)
        losses.masked_fill_(~valid, 0)
        weighed = losses
        if weigh is not None:
            factors = weigh(losses, comparison.anchors.index)
            weighed = losses * factors
            weights.mul_(factors)
        value = (weighed * share).sum(dtype=torch.float64)
    attached: Tensor = KnownGradient.apply(matrix, weights, value)
    return LossOutput(attached, terms, terms, {}, rows=losses.squeeze(1))
