"""Active ratios of GREEDINESS ([CT], arXiv:2510.02161): the share of a loss's terms that contribute."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.comparison import Comparison


class PairActivity(NamedTuple):
    """Pairs with their weights.

    Attributes:
        weights: (B, R), |dL/ds|.
        active: (B, R) bool.
        valid: scalar int64, the number of pairs that the labels allow.
    """

    weights: Tensor
    active: Tensor
    valid: Tensor


@torch.no_grad()
def pair_activity(comparison: Comparison, distance_gradient: Tensor, threshold: float) -> PairActivity:
    """Pairs whose weight |dL/ds| exceeds ``threshold`` times the largest weight of the batch.

    s is the similarity (dot product), as in general pair weighting (Wang et al., arXiv:1904.06627), so
    that hinge losses and smooth ones are counted on one scale.

    Args:
        comparison: the comparison of the batch.
        distance_gradient: (B, R), dL/d(distance); any constant factor cancels.
        threshold: share of the largest weight, between 0 and 1.
    """
    return _activity(comparison, _pulls(comparison, distance_gradient).abs_(), threshold)


@torch.no_grad()
def joint_activities(
    comparisons: Sequence[Comparison], gradients: Sequence[Tensor | None], threshold: float
) -> list[tuple[PairActivity, Comparison]]:
    """:func:`pair_activity` of each way in which a batch was compared, with the comparison whose pairs are counted.

    The weights in a comparison and in parts of it are added.

    Args:
        comparisons: as :attr:`Comparison.made` gives them.
        gradients: of the distances of each; None where no loss depends on them.
        threshold: as of :func:`pair_activity`.
    """
    groups: dict[int, list[tuple[Comparison, Tensor]]] = {}
    for one, gradient in zip(comparisons, gradients, strict=True):
        if gradient is not None:
            groups.setdefault(one.origin, []).append((one, gradient))
    return [_joint(group, threshold) for group in groups.values()]


def _joint(used: Sequence[tuple[Comparison, Tensor]], threshold: float) -> tuple[PairActivity, Comparison]:
    first, gradient = used[0]
    if len(used) == 1:
        return pair_activity(first, gradient, threshold), first
    whole = first.part.whole if first.part else first
    weights = torch.zeros(whole.shape, dtype=gradient.dtype, device=gradient.device)
    for one, gradient in used:
        if one.part is None:
            weights += _pulls(one, gradient)
        else:
            place = one.part.anchors.unsqueeze(1), one.part.references
            weights.index_put_(place, _pulls(one, gradient), accumulate=True)
    return _activity(whole, weights.abs_(), threshold), whole


def _pulls(comparison: Comparison, distance_gradient: Tensor) -> Tensor:
    """dL/ds of each pair, up to its sign."""
    return comparison.distance.slope(comparison.distances.detach()).mul_(distance_gradient)


def _activity(comparison: Comparison, weights: Tensor, threshold: float) -> PairActivity:
    return PairActivity(weights, weights > threshold * weights.amax(), _valid_pairs(comparison))


def _valid_pairs(comparison: Comparison) -> Tensor:
    """Scalar int64: the number of pairs that the labels allow, including pairs that the loss does not compare."""
    if comparison.part is None:
        return comparison.positive.sum() + comparison.negative.sum()
    # Each sample with each reference, except itself and empty places of a memory.
    whole = comparison.part.whole
    anchors = (whole.anchors.labels >= 0).sum()
    return anchors * ((whole.references.labels >= 0).sum() - 1)


@torch.no_grad()
def proxy_activity(similarity_gradient: Tensor, threshold: float) -> PairActivity:
    """:func:`pair_activity` for pairs of a sample and a proxy or class weight.

    Args:
        similarity_gradient: (B, C), dL/ds.
        threshold: share of the largest weight, between 0 and 1.
    """
    weights = similarity_gradient.abs()
    valid = torch.tensor(weights.numel(), device=weights.device)
    return PairActivity(weights, weights > threshold * weights.amax(), valid)


def active_samples(activity: PairActivity, hinge: bool, comparison: Comparison | None = None) -> Tensor:
    """(B,) bool: samples that occur in an active term.

    In a hinge loss every pair with a non-zero weight is in a non-zero term; in a smooth loss, where all
    terms are non-zero, the active pairs are those above the threshold.

    Args:
        activity: the activity of the pairs.
        hinge: see :class:`metriscope.objectives.losses.base.Loss`.
        comparison: the comparison of these pairs; None where columns are proxies.
    """
    pairs = activity.weights > 0 if hinge else activity.active
    anchors = pairs.any(1)
    if comparison is None:
        return anchors
    # The first references are the batch itself: a sample is also in the terms of other anchors.
    whole = comparison.part.whole if comparison.part else comparison
    batch = len(whole.anchors.labels)
    if comparison.part is None:
        return anchors | pairs[:, :batch].any(0)
    samples = anchors.new_zeros(whole.shape[1])
    samples[comparison.part.anchors] = anchors
    samples[comparison.part.references] |= pairs.any(0)
    return samples[:batch]
