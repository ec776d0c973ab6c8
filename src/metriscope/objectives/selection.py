"""A miner's selection of the terms that count.

A selection is one of four kinds, none of which lists all triplets:

- :class:`Pairs`: two masks of shape (B, R), or :class:`RowPairs`, which makes them for a block of anchors;
- :class:`TripletBand`: all triplets whose gap d(a, n) - d(a, p) lies in an open interval, O(1);
- :class:`Triplets`: an explicit list, for miners that choose few;
- :class:`Mixtures`: at most S points of each anchor that are no samples; :class:`Pairs` may hold some as well.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.mixed import Mixtures
from metriscope.objectives.numerics import numbers


@dataclass(frozen=True)
class Pairs:
    """The pairs that count.

    Attributes:
        positive, negative: (B, R) bool masks, subsets of the comparison's masks.
        positive_weights, negative_weights: (B, R), at least 0, detached: how much each pair counts; None for 1.
        mixtures: synthetic points that count beside the pairs; None for none.
    """

    positive: Tensor
    negative: Tensor
    positive_weights: Tensor | None = None
    negative_weights: Tensor | None = None
    mixtures: Mixtures | None = None

    def at(self, rows: slice) -> "Pairs":
        """Those of some anchors."""
        up, down = (None if one is None else one[rows] for one in (self.positive_weights, self.negative_weights))
        mixtures = None if self.mixtures is None else self.mixtures.at(rows)
        return Pairs(self.positive[rows], self.negative[rows], up, down, mixtures)

    @property
    def weighed(self) -> bool:
        """Whether pairs have weights."""
        return self.positive_weights is not None or self.negative_weights is not None

    def terms(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Both masks as numbers: weights, or 1."""
        sides = ((self.positive, self.positive_weights), (self.negative, self.negative_weights))
        positive, negative = (
            numbers(mask, dtype) if weights is None else weights.to(dtype) * mask for mask, weights in sides
        )
        return positive, negative


@dataclass(frozen=True)
class RowPairs:
    """Pairs that an anchor's own row decides, chosen for a block of anchors when it is judged.

    Attributes:
        choose: a block of anchors -> its pairs (r, R). It is asked more than once, and has to give the same.
    """

    choose: Callable[[Block], Pairs]


@dataclass(frozen=True)
class TripletBand:
    """All (a, p, n) with ``low < d(a, n) - d(a, p) < high``; ``pairs``, where given, restricts (a, p) and (a, n)."""

    low: float = -math.inf
    high: float = math.inf
    pairs: "Pairs | None" = None

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
    (no host-device synchronisation) where an anchor has no triplet. ``stand_in`` (T,) int64, where it is given, are the
    reference rows that d(a, n) is measured from in place of the anchors; losses of pairs refuse them.
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor
    valid: Tensor
    stand_in: Tensor | None = None

    def at(self, rows: slice) -> "Triplets":
        """Those of some anchors, renumbered from 0; as long as the whole list, so that nobody waits for a length."""
        start, stop = rows.start or 0, rows.stop
        inside = self.anchor >= start if stop is None else (self.anchor >= start) & (self.anchor < stop)
        anchor = torch.where(inside, self.anchor - start, 0)
        return Triplets(anchor, self.positive, self.negative, self.valid & inside, self.stand_in)

    def check_pairs(self) -> None:
        """Refuse triplets that are no two pairs of one anchor.

        Raises:
            InputError: some negative distance is measured from another sample than the anchor.
        """
        if self.stand_in is not None:
            raise InputError("triplets with stand-ins are no pairs: use loss=triplet or set miner.stand_ins=null")


Selection = Pairs | RowPairs | TripletBand | Triplets | Mixtures


def triplet_distances(selection: Triplets | Mixtures, comparison: Comparison) -> tuple[Tensor, Tensor, Tensor]:
    """d(a, p), d(a, n) and which entries count, of one shape; attached to the graph."""
    d = comparison.distances
    if isinstance(selection, Mixtures):
        assert selection.positive is not None
        to_positive = d.gather(1, selection.positive.unsqueeze(1)).expand_as(selection.share)
        return to_positive, selection.distances(comparison), selection.valid
    anchor, to_positive = selection.anchor, d[selection.anchor, selection.positive]
    if selection.stand_in is None:
        return to_positive, d[anchor, selection.negative], selection.valid
    rows = comparison.prepared[1]
    # Of the T x T distances between both ends, those of the triplets: few beside the matrix (B, R) that is there.
    ends = comparison.distance.block(rows.index_select(0, selection.stand_in), rows.index_select(0, selection.negative))
    return to_positive, ends.diagonal(), selection.valid


def pairs_of(selection: Selection, block: Block) -> Pairs | None:
    """The pairs of some anchors, (r, R); None for all that the labels allow.

    A band of triplets stands for the pairs that its triplets are made of.

    Raises:
        InputError: for mixtures, which are not samples, and for triplets with stand-ins.
    """
    rows = block.rows
    if isinstance(selection, Pairs):
        return selection.at(rows)
    if isinstance(selection, RowPairs):
        return selection.choose(block)
    if isinstance(selection, TripletBand):
        return None if selection.pairs is None else selection.pairs.at(rows)
    if isinstance(selection, Mixtures):
        raise InputError("mixtures are no pairs: use loss=triplet or set miner.interpolation=null")
    selection.check_pairs()
    some = selection.at(rows)
    masks = []
    for column in (some.positive, some.negative):
        counts = torch.zeros(block.positive.shape, dtype=torch.int32, device=column.device)
        counts.index_put_((some.anchor, column), some.valid.to(torch.int32), accumulate=True)
        masks.append(counts > 0)
    return Pairs(masks[0], masks[1])


def unbanded(selection: Selection) -> Selection:
    """The same selection, for a loss of pairs.

    Raises:
        InputError: for a bounded band, which restricts triplets and not pairs.
    """
    if isinstance(selection, TripletBand) and not selection.unbounded:
        raise InputError("a band of triplets cannot be turned into pairs: use miner=all or a pair miner")
    return selection


def as_pairs(selection: Selection, comparison: Comparison) -> Pairs:
    """The pairs of a selection, (B, R).

    Raises:
        InputError: for a bounded band, which restricts triplets and not pairs, and for mixtures, which are not samples.
    """
    selection = unbanded(selection)
    given = selection.pairs if isinstance(selection, TripletBand) else selection
    if isinstance(given, Pairs):
        return given
    with torch.no_grad():
        pairs = pairs_of(selection, comparison.block(slice(0, len(comparison.anchors.labels))))
    return Pairs(comparison.positive, comparison.negative) if pairs is None else pairs
