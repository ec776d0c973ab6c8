"""Active ratios of GREEDINESS ([CT], arXiv:2510.02161): the share of a loss's terms that contribute.

The weight of a pair is |dL/ds| with s the similarity (dot product), as in general pair weighting (Wang et al.,
arXiv:1904.06627), so that hinge losses and smooth ones are counted on one scale. Weights are looked at for a few
anchors at a time: a pair is active by the largest weight of the batch, so they are made twice, or kept where they are
no more than :data:`metriscope.objectives.comparison.KEPT_PAIRS`. Pairs with synthetic references are not counted.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.classes import Classes
from metriscope.objectives.comparison import KEPT_PAIRS, Comparison
from metriscope.objectives.numerics import above
from metriscope.objectives.output import PairSlopes

Pulls = Callable[[slice], Tensor]
"""Anchors, by first and last position -> dL/ds of their pairs (r, R), up to a sign and a constant factor."""


class PairActivity(NamedTuple):
    """How many pairs are active.

    Attributes:
        active: scalar int64, the number of pairs whose weight exceeds the threshold.
        valid: scalar int64, the number of pairs that the labels allow, including pairs that the loss does not compare.
        samples: (B,) bool, the samples that occur in an active term.
    """

    active: Tensor
    valid: Tensor
    samples: Tensor


def pulls_of_slopes(comparison: Comparison, slopes: Callable[[slice], PairSlopes], weight: float = 1.0) -> Pulls:
    """Those of a loss that keeps no matrix, times a weight."""

    def pulls(rows: slice) -> Tensor:
        by_pairs, distances = slopes(rows)
        if distances is not None:
            by_pairs = comparison.distance.slope(distances).mul_(by_pairs)
        return by_pairs * weight if weight != 1 else by_pairs

    return pulls


def pulls_of_matrix(comparison: Comparison, distance_gradient: Tensor) -> Pulls:
    """Those of a loss of a matrix of distances, from dL/d(distance), of the shape of the comparison.

    A comparison :meth:`among` some samples pulls at these, within the comparison of all.
    """
    of_all = comparison.distance.slope(comparison.distances.detach()).mul_(distance_gradient)
    part = comparison.part
    if part is None:
        return lambda rows: of_all[rows]
    _, columns = part.whole.shape

    def pulls(rows: slice) -> Tensor:
        place = part.anchors - rows.start
        inside = (place >= 0) & (part.anchors < rows.stop)
        block = of_all.new_zeros(rows.stop - rows.start, columns)
        index = (place * inside).unsqueeze(1), part.references.unsqueeze(0)
        return block.index_put_(index, of_all * inside.unsqueeze(1), accumulate=True)

    return pulls


def weights_of(pulls: Sequence[Pulls], rows: slice) -> Tensor:
    """The pair weights |dL/ds| (r, R) of some anchors, from the pulls of one or several losses, which are added."""
    first, *others = (one(rows) for one in pulls)
    for other in others:
        first = first + other
    return first.abs()


@torch.no_grad()
def pair_activity(comparison: Comparison, pulls: Sequence[Pulls], hinge: bool, threshold: float) -> PairActivity:
    """Pairs whose weight exceeds ``threshold`` times the largest weight of the batch.

    In a hinge loss every pair with a non-zero weight is in a non-zero term; in a smooth loss, where all terms are
    non-zero, the pairs in active terms are those above the threshold. Pairs with synthetic references are none, but a
    sample may be in an active term by one.

    Args:
        comparison: of all samples.
        pulls: of one or several losses, which are added.
        hinge: see :class:`metriscope.objectives.losses.base.Loss`.
        threshold: share of the largest weight, between 0 and 1.
    """
    batch, columns = comparison.shape
    synthetic = comparison.synthetic
    real = None if synthetic is None else ~synthetic
    valid = _classes_of_data(comparison, synthetic).sizes.sum()
    if not batch:
        return PairActivity(valid, valid, valid.new_zeros(0, dtype=torch.bool))
    blocks = [block.rows for block in comparison.blocks()]

    def weights() -> Iterator[Tensor]:
        return (weights_of(pulls, rows) for rows in blocks)

    def counting(block: Tensor) -> Tensor:
        return block if real is None else block * real

    kept = list(weights()) if batch * columns <= KEPT_PAIRS else None
    least = threshold * torch.stack([counting(block).amax() for block in kept or weights()]).amax()
    active, by_anchors, by_references = [], [], []
    for block in kept or weights():
        large = above(block, least)
        pairs = above(block, 0) if hinge else large
        active.append(counting(large).sum(1).sum(dtype=torch.float64))
        by_anchors.append(pairs.sum(1))
        by_references.append(pairs.sum(0))
    # A sample is also in the terms of other anchors.
    own = torch.stack(by_references).sum(0)[comparison.first : comparison.first + batch]
    samples = torch.cat(by_anchors).add_(own) > 0
    return PairActivity(torch.stack(active).sum().long(), valid, samples)


def _classes_of_data(comparison: Comparison, synthetic: Tensor | None) -> Classes:
    if synthetic is None:
        return comparison.classes
    labels = comparison.references.labels.masked_fill(synthetic, -1)
    own = comparison.anchors.labels
    return Classes(own, labels, comparison.first, comparison.negatives_only, comparison.sides)


@torch.no_grad()
def proxy_activity(similarity_gradient: Tensor, hinge: bool, threshold: float) -> PairActivity:
    """:func:`pair_activity` for pairs of a sample and a proxy or class weight.

    Args:
        similarity_gradient: (B, C), dL/ds.
        hinge, threshold: as of :func:`pair_activity`.
    """
    weights = similarity_gradient.abs()
    active = weights > threshold * weights.amax()
    valid = torch.tensor(weights.numel(), device=weights.device)
    return PairActivity(active.sum(), valid, ((weights > 0) if hinge else active).any(1))
