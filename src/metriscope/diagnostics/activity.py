"""How many terms of a loss do anything: the active ratios of GREEDINESS ([CT], arXiv:2510.02161)."""

from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.selection import Comparison


class PairActivity(NamedTuple):
    """Pairs by weight.

    Attributes:
        weights: (B, R), |dL/ds|.
        active: (B, R) bool.
        valid: scalar int64, the pairs that the labels allow.
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
        comparison: of the batch.
        distance_gradient: (B, R), dL/d(distance); any constant factor cancels.
        threshold: share of the largest weight, between 0 and 1.
    """
    slope = comparison.distance.slope(comparison.distances.detach())
    weights = slope.mul_(distance_gradient).abs_()
    valid = comparison.positive.sum() + comparison.negative.sum()
    return PairActivity(weights, weights > threshold * weights.max(), valid)


def active_samples(activity: PairActivity, hinge: bool) -> Tensor:
    """(B,) bool: samples with a part in an active term.

    In a hinge loss every pair with a non-zero weight is in a non-zero term; in a smooth loss, where all
    terms are non-zero, the active pairs are those above the threshold.
    """
    pairs = activity.weights > 0 if hinge else activity.active
    samples = pairs.any(1)
    if pairs.shape[0] == pairs.shape[1]:
        samples = samples | pairs.any(0)
    return samples
