"""A miner's selection of the terms that count.

A selection is one of four kinds, none of which lists all triplets:

- :class:`Pairs`: two masks of shape (B, R);
- :class:`TripletBand`: all triplets whose gap d(a, n) - d(a, p) lies in an open interval, O(1);
- :class:`Triplets`: an explicit list, for miners that choose few;
- :class:`Mixtures`: at most S synthetic negatives of each anchor.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.objectives.comparison import Comparison


@dataclass(frozen=True)
class Pairs:
    """The pairs that count.

    Attributes:
        positive, negative: (B, R) bool masks, subsets of the comparison's masks.
        positive_weights, negative_weights: (B, R), at least 0, detached: how much each pair counts; None for 1.
    """

    positive: Tensor
    negative: Tensor
    positive_weights: Tensor | None = None
    negative_weights: Tensor | None = None

    def at(self, rows: slice) -> "Pairs":
        """Those of some anchors."""
        columns = (self.positive, self.negative, self.positive_weights, self.negative_weights)
        return Pairs(*(None if one is None else one[rows] for one in columns))  # type: ignore[arg-type]

    def terms(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Both masks, each as numbers where its pairs have weights."""
        sides = ((self.positive, self.positive_weights), (self.negative, self.negative_weights))
        positive, negative = (mask if weights is None else weights.to(dtype) * mask for mask, weights in sides)
        return positive, negative


@dataclass(frozen=True)
class TripletBand:
    """All (a, p, n) with ``low < d(a, n) - d(a, p) < high``; ``pairs``, where given, restricts (a, p) and (a, n)."""

    low: float = -math.inf
    high: float = math.inf
    pairs: Pairs | None = None

    @property
    def unbounded(self) -> bool:
        """Whether every triplet is in the band."""
        return self.low == -math.inf and self.high == math.inf

    def at(self, rows: slice) -> "TripletBand":
        """That of some anchors."""
        return self if self.pairs is None else TripletBand(self.low, self.high, self.pairs.at(rows))


@dataclass(frozen=True)
class Triplets:
    """A list of triplets: (T,) int64 anchor rows, positive and negative reference rows.

    ``valid`` (T,) bool marks the entries that stand for a triplet, so that miners keep fixed shapes
    (no host-device synchronisation) where an anchor has no triplet.
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor
    valid: Tensor

    def at(self, rows: slice) -> "Triplets":
        """Those of some anchors, renumbered from 0; as long as the whole list, so that nobody waits for a length."""
        start, stop = rows.start or 0, rows.stop
        inside = self.anchor >= start if stop is None else (self.anchor >= start) & (self.anchor < stop)
        anchor = torch.where(inside, self.anchor - start, 0)
        return Triplets(anchor, self.positive, self.negative, self.valid & inside)


@dataclass(frozen=True)
class Mixtures:
    """Triplets with synthetic negatives: S of each anchor, each on the segment between two references.

    Attributes:
        positive: (B,) int64, the positive of each anchor.
        first, second: (B, S) int64, the ends of the segments; ``first`` is in the batch, whose distances are known.
        share: (B, S), the share of ``first``, from 0 (the second end itself) to 1.
        valid: (B, S) bool, the entries that stand for a triplet.
        spherical: whether mixtures are L2-normalised again.
    """

    positive: Tensor
    first: Tensor
    second: Tensor
    share: Tensor
    valid: Tensor
    spherical: bool = True

    def at(self, rows: slice) -> "Mixtures":
        """Those of some anchors."""
        positive, first, second, share, valid = (
            column[rows] for column in (self.positive, self.first, self.second, self.share, self.valid)
        )
        return Mixtures(positive, first, second, share, valid, self.spherical)

    def distances(self, comparison: Comparison) -> Tensor:
        """(B, S) distances of the anchors to their mixtures, attached to the graph; see :meth:`Distance.blend`."""
        d = comparison.distances
        to_first, to_second = d.gather(1, self.first), d.gather(1, self.second)
        return comparison.distance.blend(to_first, to_second, d[self.first, self.second], self.share, self.spherical)


Selection = Pairs | TripletBand | Triplets | Mixtures


def triplet_distances(selection: Triplets | Mixtures, comparison: Comparison) -> tuple[Tensor, Tensor, Tensor]:
    """d(a, p), d(a, n) and which entries count, of one shape; attached to the graph."""
    d = comparison.distances
    if isinstance(selection, Mixtures):
        to_positive = d.gather(1, selection.positive.unsqueeze(1)).expand_as(selection.share)
        return to_positive, selection.distances(comparison), selection.valid
    anchor = selection.anchor
    return d[anchor, selection.positive], d[anchor, selection.negative], selection.valid


def as_pairs(selection: Selection, comparison: Comparison) -> Pairs:
    """The pairs of a selection.

    Raises:
        InputError: for a bounded band, which restricts triplets and not pairs, and for mixtures, which are not samples.
    """
    if isinstance(selection, Pairs):
        return selection
    if isinstance(selection, TripletBand):
        if not selection.unbounded:
            raise InputError("a band of triplets cannot be turned into pairs: use miner=all or a pair miner")
        return selection.pairs or Pairs(comparison.positive, comparison.negative)
    if isinstance(selection, Mixtures):
        raise InputError("mixtures are no pairs: use loss=triplet or set miner.interpolation=null")
    masks = []
    for column in (selection.positive, selection.negative):
        counts = torch.zeros(comparison.distances.shape, dtype=torch.int32, device=column.device)
        counts.index_put_((selection.anchor, column), selection.valid.to(torch.int32), accumulate=True)
        masks.append(counts > 0)
    return Pairs(*masks)


def as_band(selection: Pairs | TripletBand, comparison: Comparison) -> tuple[TripletBand, Pairs]:
    """A selection as a band with its masks: pairs stand for every triplet that they form."""
    if isinstance(selection, Pairs):
        return TripletBand(pairs=selection), selection
    return selection, selection.pairs or Pairs(comparison.positive, comparison.negative)
