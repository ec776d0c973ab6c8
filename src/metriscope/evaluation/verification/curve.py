"""The curve of verification: how many positive and negative pairs have a score, for each score that occurs.

Two samples are said to be of one class where their score, the cosine similarity, is at least a threshold. TAR, the true
accept rate, is the share of positive pairs with such a score; FAR, the false accept rate, that of negative pairs; FRR
is 1 - TAR. A figure is NaN where there is no positive or no negative pair.
"""

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.evaluation.verification import scores

_BLOCK = 2**18
"""Places that are looked at at a time, 2 MB of each number."""


class Best(NamedTuple):
    """The threshold with the largest balanced accuracy."""

    threshold: float
    """The least cosine that is accepted; of several as good ones the largest."""
    accuracy: float
    """(TAR + 1 - FAR) / 2."""


class PairCurve:
    """What there is to know of pairs by their scores alone; exact, from counts.

    Holds the counts alone, summed up in the memory in which they come, 134 MB: every score of a large set occurs, and
    numbers of each of them would take as much again and again. Figures take blocks of them, or search in them.

    Args:
        positive: (2 GRID + 2,) int64, the number of positive pairs by place, see
            :mod:`metriscope.evaluation.verification.scores`; overwritten.
        negative: the same of negative pairs.
    """

    def __init__(self, positive: Tensor, negative: Tensor) -> None:
        for count in (positive, negative):
            count[scores.EXCLUDED] = 0
        # The pairs at or below each place.
        self._positive, self._negative = positive.cumsum_(0), negative.cumsum_(0)
        self.positives, self.negatives = int(positive[-1]), int(negative[-1])
        """How many pairs there are."""
        self._lowest = int(self._occurring(torch.ones((), dtype=torch.int64, device=self.device)))
        ends = zip((positive, negative), (self.positives, self.negatives), strict=True)
        self._highest = max(int(torch.searchsorted(below, total)) for below, total in ends)

    def __bool__(self) -> bool:
        return bool(self.positives and self.negatives)

    @property
    def device(self) -> torch.device:
        """Where the counts lie."""
        return self._positive.device

    @property
    def places(self) -> Tensor:
        """(S,) int64, the places that occur, descending; as all vectors over them made anew with each request."""
        there = (self._positive.diff() != 0).logical_or_(self._negative.diff() != 0)
        return there.nonzero().squeeze(1).add_(1).flip(0)

    @property
    def cosines(self) -> Tensor:
        """(S,) float64, their scores."""
        return scores.cosines_of(self.places)

    @property
    def positive(self) -> Tensor:
        """(S,) int64, the positive pairs of each score."""
        return self._at(self._positive)

    @property
    def negative(self) -> Tensor:
        """(S,) int64, the negative pairs of each score."""
        return self._at(self._negative)

    def _at(self, below: Tensor) -> Tensor:
        places = self.places
        return below[places] - below[places - 1]

    @property
    def tar(self) -> Tensor:
        """(S,) float64, with each score as threshold."""
        return self._tar(self.places)

    @property
    def far(self) -> Tensor:
        """(S,) float64, with each score as threshold."""
        return self._far(self.places)

    @property
    def auc(self) -> float:
        """The area under the ROC curve: the share of (positive, negative) where the positive is larger, ties half."""
        if not self:
            return math.nan
        won = []
        for start, stop in self._blocks():
            positive, negative = (self._counted(below, start, stop) for below in (self._positive, self._negative))
            above = self.positives - self._positive[start:stop]
            won.append(float(negative @ positive.mul_(0.5).add_(above)))
        return math.fsum(won) / (float(self.positives) * float(self.negatives))

    def allowed(self, far: float) -> int:
        """How many negative pairs may be accepted at a FAR; below 1 it is finer than the pairs allow."""
        return int(Fraction(str(far)) * self.negatives)

    def tar_at(self, far: float) -> float:
        """The largest TAR of any threshold whose FAR is at most ``far``; NaN for one finer than the pairs allow.

        With n = ``allowed(far)`` that is the share of positive pairs above the (n + 1)-th largest negative score.
        """
        place = self.place_at(far)
        return math.nan if place is None else float(self._tar(torch.tensor(place)))

    def threshold_at(self, far: float) -> float:
        """The least threshold whose FAR is at most ``far``, a cosine; NaN for a FAR finer than the pairs allow."""
        place = self.place_at(far)
        return math.nan if place is None else float(scores.cosines_of(torch.tensor(place)))

    def place_at(self, far: float) -> int | None:
        """The place of :meth:`threshold_at`; None in place of NaN."""
        if not self or self.allowed(far) < 1:
            return None
        least = torch.searchsorted(self._negative, self.negatives - self.allowed(far)) + 1
        return min(int(self._occurring(least)), self._highest + 1)

    @property
    def eer(self) -> float:
        """The equal error rate, where FAR and FRR are one, on the straight line between two points of the curve."""
        if not self:
            return math.nan
        # The score at which FAR has grown to FRR, and the next one above it.
        after = self._least(lambda places: self._far(places) < 1 - self._tar(places)) - 1
        (before_far, far), (before_tar, tar) = (
            of(after + torch.tensor([1, 0], device=self.device)).tolist() for of in (self._far, self._tar)
        )
        before, gap = before_far - (1 - before_tar), far - (1 - tar)
        return float(before_far + before / (before - gap) * (far - before_far))

    @property
    def d_prime(self) -> float:
        """(mean of positive scores - mean of negative scores) / sqrt of the mean of their variances.

        NaN where all positive scores, and all negative scores, are one.
        """
        if not self:
            return math.nan
        (high, first), (low, second) = (self._moments(below) for below in (self._positive, self._negative))
        return (high - low) / math.sqrt((first + second) / 2) if first + second > 0 else math.nan

    def _moments(self, below: Tensor) -> tuple[float, float]:
        """Mean and variance of the scores of some pairs."""

        def mean(of: Callable[[Tensor], Tensor]) -> float:
            parts = (
                self._counted(below, *ends) @ of(scores.cosines_of(torch.arange(*ends, device=self.device)))
                for ends in self._blocks()
            )
            return math.fsum(map(float, parts)) / float(below[-1])

        centre = mean(lambda cosines: cosines)
        return centre, mean(lambda cosines: (cosines - centre).square())

    @property
    def best(self) -> Best:
        """The threshold with the largest balanced accuracy, chosen and judged on the same pairs."""
        if not self:
            return Best(math.nan, math.nan)
        place, most = self._highest, -math.inf
        for start, stop in self._blocks():
            above = slice(start - 1, stop - 1)
            gain = _share(self._positive[above], self.positives).sub_(_share(self._negative[above], self.negatives))
            found = float(gain.max())
            if found > most:
                place, most = start + int((gain == found).nonzero()[-1]), found
        return Best(float(scores.cosines_of(torch.tensor(place))), (1 + most) / 2)

    def points(self, count: int = 200) -> list[tuple[float, float, float]]:
        """(threshold, FAR, TAR) at the ends and at ``count`` FARs spaced evenly on a log scale, for figures."""
        if not self:
            return []
        wanted = torch.logspace(math.log10(1 / self.negatives), 0, count, dtype=torch.float64, device=self.device)
        least = self._least(lambda places: self._far(places) <= wanted * (1 + 1e-12), count)
        highest = least.new_tensor([self._highest])
        drawn = torch.unique(torch.cat([self._occurring(least).clamp_(max=self._highest), highest])).flip(0)
        columns = (each.tolist() for each in (scores.cosines_of(drawn), self._far(drawn), self._tar(drawn)))
        return list(zip(*columns, strict=True))

    def _far(self, places: Tensor) -> Tensor:
        """The FARs of some places as thresholds, float64."""
        return _share(self._negative[places - 1], self.negatives)

    def _tar(self, places: Tensor) -> Tensor:
        """The TARs of some places as thresholds, float64."""
        return _share(self._positive[places - 1], self.positives)

    def _blocks(self) -> Iterator[tuple[int, int]]:
        """Where blocks of the places between the ends start and stop, the highest first."""
        for stop in range(self._highest + 1, self._lowest, -_BLOCK):
            yield max(stop - _BLOCK, self._lowest), stop

    @staticmethod
    def _counted(below: Tensor, start: int, stop: int) -> Tensor:
        """The pairs at each place of a block, float64, from those at or below each place."""
        return (below[start:stop] - below[start - 1 : stop - 1]).double()

    def _occurring(self, places: Tensor) -> Tensor:
        """For each place the least one at or above it that occurs; 2 GRID + 2 where there is none."""
        every = (self._positive, self._negative)
        positive, negative = (torch.searchsorted(below, below[places - 1], right=True) for below in every)
        return torch.minimum(positive, negative)

    def _least(self, fits: Callable[[Tensor], Tensor], count: int = 1) -> Tensor:
        """(count,) int64, the least places that fit, where all fit from some place on and the highest but one does."""
        low = torch.ones(count, dtype=torch.int64, device=self.device)
        high = low * (self._highest + 1)
        while bool((low < high).any()):
            middle = (low + high).div_(2, rounding_mode="floor")
            found = fits(middle)
            low, high = torch.where(found, low, middle + 1), torch.where(found, middle, high)
        return low


def _share(below: Tensor, total: int) -> Tensor:
    """The share of pairs that are above a place, float64, from those at or below it."""
    return (total - below).double().div_(max(total, 1))
