"""The comparison of a batch with its references, and a miner's selection of the terms that count.

A selection is one of three kinds, none of which lists all triplets:

- :class:`Pairs`: two masks of shape (B, R);
- :class:`TripletBand`: all triplets whose gap d(a, n) - d(a, p) lies in an open interval, O(1);
- :class:`Triplets`: an explicit list, for miners that choose few.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.objectives.distances.base import Distance


@dataclass(frozen=True)
class Comparison:
    """Anchors compared with references, once per step; miners and losses only read it.

    Attributes:
        embeddings: (B, D) anchors.
        labels: (B,) int64.
        references: (R, D): the batch itself, or more.
        reference_labels: (R,) int64.
        distances: (B, R), attached to the graph.
        positive: (B, R) bool, same class and not the anchor itself.
        negative: (B, R) bool, another class.
        distance: the distance that gave ``distances``.
        generator: CPU generator of this step, for miners that draw.
        epoch: from 0, for miners that follow a schedule.
        rows, columns: (b,), (r,) int64, the anchors and references of the (b, r) matrices where a loss compares only a
            part; None where the matrices cover all.

    A loss that is not ``pairwise`` gets a comparison whose matrices are empty.
    """

    embeddings: Tensor
    labels: Tensor
    references: Tensor
    reference_labels: Tensor
    distances: Tensor
    positive: Tensor
    negative: Tensor
    distance: Distance
    generator: torch.Generator | None = None
    epoch: int = 0
    rows: Tensor | None = None
    columns: Tensor | None = None

    @property
    def similarities(self) -> Tensor:
        """(B, R) cosine similarities, differentiable; see :meth:`Distance.similarity`."""
        return self.distance.similarity(self.distances)


@dataclass(frozen=True)
class Pairs:
    """The pairs that count: (B, R) bool masks, subsets of the comparison's masks."""

    positive: Tensor
    negative: Tensor


@dataclass(frozen=True)
class TripletBand:
    """All (a, p, n) with ``low < d(a, n) - d(a, p) < high``; ``pairs``, where given, restricts (a, p) and (a, n)."""

    low: float = -math.inf
    high: float = math.inf
    pairs: Pairs | None = None

    @property
    def unbounded(self) -> bool:
        return self.low == -math.inf and self.high == math.inf


@dataclass(frozen=True)
class Triplets:
    """A list of triplets: (T,) int64 anchor rows, positive and negative reference rows.

    ``valid`` (T,) bool marks the entries that stand for a triplet, so that miners keep fixed shapes
    (no host-device synchronisation) where an anchor has no triplet.

    ``interpolation`` (T,), where given, moves each negative to l p + (1 - l) n, normalised again where
    ``spherical``; 0 leaves it unchanged. :func:`metriscope.objectives.interpolation.negative_distances` computes the
    distances; positives are then rows of the batch.
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor
    valid: Tensor
    interpolation: Tensor | None = None
    spherical: bool = False


Selection = Pairs | TripletBand | Triplets


def as_pairs(selection: Selection, comparison: Comparison) -> Pairs:
    """The pairs of a selection.

    Raises:
        InputError: for a bounded band, which restricts triplets and not pairs, and for interpolated negatives, which
            are not samples of the batch.
    """
    if isinstance(selection, Pairs):
        return selection
    if isinstance(selection, TripletBand):
        if not selection.unbounded:
            raise InputError("a band of triplets cannot be turned into pairs: use miner=all or a pair miner")
        return selection.pairs or Pairs(comparison.positive, comparison.negative)
    if selection.interpolation is not None:
        raise InputError("interpolated negatives are no pairs: use loss=triplet or set miner.interpolation=null")
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
