"""The curve of verification: how many positive and negative pairs have a score, for each score that occurs.

Two samples are said to be of one class where their score, the cosine similarity, is at least a threshold. TAR, the true
accept rate, is the share of positive pairs with such a score; FAR, the false accept rate, that of negative pairs; FRR
is 1 - TAR. A figure is NaN where there is no positive or no negative pair.
"""

import math
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.evaluation.verification import scores


class Best(NamedTuple):
    """The threshold with the largest balanced accuracy."""

    threshold: float
    """The least cosine that is accepted; of several as good ones the largest."""
    accuracy: float
    """(TAR + 1 - FAR) / 2."""


class PairCurve:
    """What there is to know of pairs by their scores alone; exact, from counts.

    Args:
        positive: (2 GRID + 2,) int64, the number of positive pairs by place, see
            :mod:`metriscope.evaluation.verification.scores`.
        negative: the same of negative pairs.
    """

    def __init__(self, positive: Tensor, negative: Tensor) -> None:
        there = (positive != 0).logical_or_(negative != 0)
        occur = there[1:].nonzero().squeeze(1).flip(0).add_(1)
        self.places = occur
        """(S,) int64, the places that occur, descending."""
        self.cosines = scores.cosines_of(occur)
        """(S,) float64, their scores."""
        self.positive, self.negative = positive[occur], negative[occur]
        """(S,) int64, the pairs of each score."""
        self.positives, self.negatives = int(self.positive.sum()), int(self.negative.sum())
        """How many pairs there are."""

    def __bool__(self) -> bool:
        return bool(self.positives and self.negatives)

    @cached_property
    def tar(self) -> Tensor:
        """(S,) float64, with each score as threshold."""
        return self.positive.cumsum(0).double() / max(self.positives, 1)

    @cached_property
    def far(self) -> Tensor:
        """(S,) float64, with each score as threshold."""
        return self.negative.cumsum(0).double() / max(self.negatives, 1)

    @property
    def auc(self) -> float:
        """The area under the ROC curve: the share of (positive, negative) where the positive is larger, ties half."""
        if not self:
            return math.nan
        before = self.positive.cumsum(0).sub_(self.positive).double()
        won = self.negative.double() @ before.add_(self.positive, alpha=0.5)
        return float(won) / (float(self.positives) * float(self.negatives))

    def allowed(self, far: float) -> int:
        """How many negative pairs may be accepted at a FAR; below 1 it is finer than the pairs allow."""
        return int(Fraction(str(far)) * self.negatives)

    def tar_at(self, far: float) -> float:
        """The largest TAR of any threshold whose FAR is at most ``far``; NaN for one finer than the pairs allow.

        With n = ``allowed(far)`` that is the share of positive pairs above the (n + 1)-th largest negative score.
        """
        if not self or self.allowed(far) < 1:
            return math.nan
        accepted = self._accepted(far)
        return float(self.tar[accepted - 1]) if accepted else 0.0

    def threshold_at(self, far: float) -> float:
        """The least threshold whose FAR is at most ``far``, a cosine; NaN for a FAR finer than the pairs allow."""
        place = self.place_at(far)
        return math.nan if place is None else float(scores.cosines_of(torch.tensor(place)))

    def place_at(self, far: float) -> int | None:
        """The place of :meth:`threshold_at`; None in place of NaN."""
        if not self or self.allowed(far) < 1:
            return None
        accepted = self._accepted(far)
        return int(self.places[accepted - 1]) if accepted else int(self.places[0]) + 1

    def _accepted(self, far: float) -> int:
        """How many of the scores that occur are at or above the threshold of a FAR."""
        return int(torch.searchsorted(self.negative.cumsum(0), self.allowed(far), right=True))

    @property
    def eer(self) -> float:
        """The equal error rate, where FAR and FRR are one, on the straight line between two points of the curve."""
        if not self:
            return math.nan
        far, frr = (torch.cat([each.new_tensor([end]), each]) for each, end in ((self.far, 0.0), (1 - self.tar, 1.0)))
        gap = far - frr
        after = int((gap >= 0).byte().argmax())
        share = float(gap[after - 1] / (gap[after - 1] - gap[after]))
        return float(far[after - 1] + share * (far[after] - far[after - 1]))

    @property
    def d_prime(self) -> float:
        """(mean of positive scores - mean of negative scores) / sqrt of the mean of their variances.

        NaN where all positive scores, and all negative scores, are one.
        """
        if not self:
            return math.nan
        (high, first), (low, second) = (self._moments(count) for count in (self.positive, self.negative))
        return (high - low) / math.sqrt((first + second) / 2) if first + second > 0 else math.nan

    def _moments(self, count: Tensor) -> tuple[float, float]:
        """Mean and variance of the scores of some pairs."""
        share = count.double() / count.sum()
        mean = share @ self.cosines
        return float(mean), float(share @ (self.cosines - mean).square())

    @property
    def best(self) -> Best:
        """The threshold with the largest balanced accuracy, chosen and judged on the same pairs."""
        if not self:
            return Best(math.nan, math.nan)
        gain = self.tar - self.far
        place = int(gain.argmax())
        return Best(float(self.cosines[place]), (1 + float(gain[place])) / 2)

    def points(self, count: int = 200) -> list[tuple[float, float, float]]:
        """(threshold, FAR, TAR) at the ends and at ``count`` FARs spaced evenly on a log scale, for figures."""
        if not self:
            return []
        least = 1 / self.negatives
        wanted = torch.logspace(math.log10(least), 0, count, dtype=torch.float64, device=self.far.device)
        found = torch.searchsorted(self.far, wanted * (1 + 1e-12), right=True) - 1
        first = self.far.new_zeros(()).long()
        rows = torch.unique(torch.cat([found, first[None]]).clamp(min=0))
        columns = (each[rows].tolist() for each in (self.cosines, self.far, self.tar))
        return list(zip(*columns, strict=True))
