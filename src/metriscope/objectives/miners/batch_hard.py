"""Miners that select one triplet per anchor from its closest and furthest pairs."""

import math
from typing import Literal

import torch
from torch import Tensor

from metriscope.objectives.block import measured
from metriscope.objectives.chunks import block_rows
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Triplets


def hardest(comparison: Comparison, positive: Tensor, negatives: Tensor) -> Triplets:
    """The triplets of each anchor's chosen positive (B,) and its closest reference among ``negatives`` (B, R) bool."""
    negative = comparison.distances.masked_fill(~negatives, math.inf).argmin(1)
    valid = comparison.positive.any(1) & negatives.any(1)
    anchor = torch.arange(len(positive), device=positive.device)
    return Triplets(anchor, positive, negative, valid)


class BatchHardMiner(Miner):
    """The furthest positive and the closest negative of each anchor (Hermans et al., arXiv:1703.07737).

    With ``stand_ins``, d(a, n) is the least distance between the anchor or a synthetic sample that stands for it
    (``references=embedding_expansion``) and any reference of another class: the hard positive and hard negative pairs
    (HPHN) of Ko and Gu, arXiv:2003.02546 (as read in the authors' code). Losses of triplets alone can take that. It
    costs the distances between S synthetic samples and all references, O(S R D), of which a block is held at once.
    Without synthetic samples, as in validation, nothing changes.

    Args:
        stand_ins: whether synthetic samples stand for their anchors; None for no.
    """

    kind = "triplets"
    paper = "arXiv:1703.07737"

    def __init__(self, stand_ins: bool | None = None) -> None:
        super().__init__()
        self.stand_ins = bool(stand_ins)

    def select(self, comparison: Comparison) -> Triplets:
        positive = comparison.distances.masked_fill(~comparison.positive, -math.inf).argmax(1)
        found = hardest(comparison, positive, comparison.negative)
        return _by_stand_ins(comparison, found) if self.stand_ins else found


def _by_stand_ins(comparison: Comparison, found: Triplets) -> Triplets:
    """The same triplets with the closest negative of the anchor or of a synthetic sample that stands for it."""
    source, first, count = comparison.references.source, comparison.first, len(found.anchor)
    if source is None:
        return found
    places = _synthetic_places(comparison)
    source = source[places] - first
    least, columns = _closest(comparison, places)
    own = comparison.distances.gather(1, found.negative.unsqueeze(1)).squeeze(1)
    stands = (columns >= 0) & (source >= 0) & (source < count)
    distances = torch.where(torch.cat([found.valid, stands]), torch.cat([own, least]), math.inf)
    group = torch.cat([found.anchor, source.clamp(0, count - 1)])
    closest = distances.new_full((count,), math.inf).scatter_reduce(0, group, distances, "amin")
    # Of equal ones the first, so that the anchor comes before its stand-ins.
    place = torch.arange(len(group), device=group.device)
    place = torch.where(distances == closest[group], place, len(group))
    chosen = torch.full_like(found.anchor, len(group)).scatter_reduce(0, group, place, "amin")
    # Numbers that are none have a place of their own, the anchor's.
    chosen = torch.where(chosen < len(group), chosen, found.anchor)
    stand_in = torch.cat([found.anchor + first, places])[chosen]
    negative = torch.cat([found.negative, columns.clamp_min(0)])[chosen]
    return Triplets(found.anchor, found.positive, negative, found.valid, stand_in)


def _synthetic_places(comparison: Comparison) -> Tensor:
    """(S,) int64, the references that stand for a sample."""
    ranges, start = [], 0
    for samples, _, _ in comparison.segments:
        if samples.source is not None:
            ranges.append(torch.arange(start, start + len(samples.labels), device=samples.labels.device))
        start += len(samples.labels)
    return torch.cat(ranges)


def _closest(comparison: Comparison, places: Tensor) -> tuple[Tensor, Tensor]:
    """Of some references (S,): the least distance (S,) to one of another class, and which (S,); -1 for none."""
    references, labels = comparison.prepared[1], comparison.references.labels
    step = block_rows(len(references), references.device, references.element_size(), comparison.memory_mb)
    sides = comparison.sides
    if sides is not None:
        # Here references are compared with references.
        sides = sides._replace(own=sides.given)
    found = []
    for rows in torch.split(places, step):
        own = labels[rows].unsqueeze(1)
        negative = (own != labels) & (own >= 0) & (labels >= 0)
        if sides is not None:
            negative &= sides.reach(rows)
        distances = measured(comparison.distance, references[rows], references)
        least = distances.masked_fill(~negative, math.inf).min(1)
        found.append((least.values, torch.where(negative.any(1), least.indices, -1)))
    values, columns = zip(*found, strict=True)
    return torch.cat(values), torch.cat(columns)


class BatchEasyPositiveMiner(Miner):
    """The closest positive of each anchor (Xuan et al., arXiv:1904.04370), with

    - ``negative="hard"``: its closest negative;
    - ``negative="semihard"``: its closest negative beyond that positive; anchors without one are left out.
    """

    kind = "triplets"
    paper = "arXiv:1904.04370"

    def __init__(self, negative: Literal["hard", "semihard"] = "hard") -> None:
        super().__init__()
        self.negative = negative

    def select(self, comparison: Comparison) -> Triplets:
        distance, positive = comparison.distances.masked_fill(~comparison.positive, math.inf).min(1)
        negatives = comparison.negative
        if self.negative == "semihard":
            negatives = negatives & (comparison.distances > distance.unsqueeze(1))
        return hardest(comparison, positive, negatives)
