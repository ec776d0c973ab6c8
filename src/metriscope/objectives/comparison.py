"""The comparison of anchors with references: matrices that are made when a miner or a loss first asks for them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.config.across import Across, left_out
from metriscope.errors import InputError
from metriscope.objectives.block import Block, measured
from metriscope.objectives.chunks import block_rows
from metriscope.objectives.classes import Classes, some_are_empty
from metriscope.objectives.distances.base import Distance, precise
from metriscope.objectives.distributed import Ranks
from metriscope.objectives.samples import Moment, Samples, joined
from metriscope.objectives.sides import Sides
from metriscope.unit import unit_rows

KEPT_PAIRS = 4_000_000
"""So many pairs cost more to compute twice than to hold for a moment."""


class Segment(NamedTuple):
    """References of one origin.

    Attributes:
        samples: the references.
        negatives_only: whether they are nobody's positives.
        synthetic: whether they are in no data; diagnostics do not count pairs with them.
    """

    samples: Samples
    negatives_only: bool = False
    synthetic: bool = False


WeighRows = Callable[[Tensor, Tensor], Tensor]
"""Losses (r, 1) and the anchors' index (r,) -> factors (r, 1)."""


@dataclass
class _Kept:
    """What a comparison has made so far."""

    # functools.cached_property takes a lock, which torch.compile cannot trace.
    references: Samples | None = None
    prepared: tuple[Tensor, Tensor] | None = None
    distances: Tensor | None = None
    known: tuple[slice, Tensor] | None = None
    """Some anchors, and their distances without a graph."""
    masks: tuple[Tensor, Tensor] | None = None
    classes: Classes | None = None
    parts: "list[Comparison]" = field(default_factory=list)


class PartOf(NamedTuple):
    """Where a comparison of some samples stands in that of all: positions of its anchors (b,) and references (r,)."""

    whole: "Comparison"
    anchors: Tensor
    references: Tensor


class Comparison:
    """Anchors (B) compared with references (R); miners and losses only read it.

    A matrix is made when it is first asked for, then kept, so that a loss that compares nothing costs nothing.

    A sample is never its own positive. It is excluded by its position, not by its index: an earlier view of the same
    image in a memory stays a positive. A label of -1 marks a place without a sample: it has no positives and no
    negatives, and is none.

    Args:
        anchors: the samples that are judged.
        segments: the references; the batch comes first.
        distance: how two samples are compared.
        moment: when.
        first: the position of the first anchor among the references.
        memory_mb: bound on the matrices of a block of anchors that is judged at once, in MiB; None for what suits the
            device.
        ranks: the processes that share the anchors; None where this one judges them all.
        across: which references an anchor is compared with where samples have sides: those of the ``other`` side alone,
            or of the ``same``. None for all.

    Raises:
        InputError: some samples have no side where sides decide.
    """

    def __init__(
        self,
        anchors: Samples,
        segments: Sequence[Segment],
        distance: Distance,
        moment: Moment | None = None,
        *,
        first: int = 0,
        memory_mb: float | None = None,
        ranks: Ranks | None = None,
        across: Across | None = None,
    ) -> None:
        self.across = left_out(across)
        if self.across is not None:
            _check_sides(self.across, anchors, segments)
        self.anchors = anchors
        self.segments = tuple(segments)
        self.distance = distance
        self.moment = Moment() if moment is None else moment
        self.first = first
        self.memory_mb = memory_mb
        self.ranks = ranks
        self.weigh: WeighRows | None = None
        """Factors (r, 1) of the losses (r, 1) of anchors with an index (r,); None for 1."""
        self.part: PartOf | None = None
        """Where this stands in another comparison, if :meth:`among` has made it."""
        self._never = _marked(segments, [segment.negatives_only for segment in segments])
        self._kept = _Kept()
        # A miner asks first, without a graph; what it has made serves the loss as well.
        self._with_graph = torch.is_grad_enabled()

    @property
    def references(self) -> Samples:
        """All references, one segment after the other."""
        if self._kept.references is None:
            first, *others = (segment.samples for segment in self.segments)
            with torch.set_grad_enabled(self._with_graph):
                self._kept.references = joined(first, others) if others else first
        return self._kept.references

    @property
    def sides(self) -> Sides | None:
        """Those that decide which pairs are compared; None where all are."""
        own, given = self.anchors.side, self.references.side
        if self.across is None or own is None or given is None:
            return None
        return Sides(self.across, own, given)

    @property
    def shape(self) -> tuple[int, int]:
        """B and R."""
        return len(self.anchors.labels), sum(len(segment.samples.labels) for segment in self.segments)

    @property
    def asked(self) -> bool:
        """Whether somebody has asked for anything about references."""
        return self._kept.references is not None

    @property
    def origin(self) -> int:
        """The same number for all comparisons that share their matrices, and for parts of them."""
        return id((self.part.whole if self.part else self)._kept)

    @property
    def made(self) -> "list[Comparison]":
        """This comparison and those :meth:`among` its samples, as far as somebody has asked for their distances."""
        return [one for one in (self, *self._kept.parts) if one._kept.distances is not None]

    @property
    def distances(self) -> Tensor:
        """(B, R), attached to the graph."""
        if self._kept.distances is None:
            anchors, references = self.prepared
            with torch.set_grad_enabled(self._with_graph):
                self._kept.distances = measured(self.distance, anchors, references)
        return self._kept.distances

    @property
    def prepared(self) -> tuple[Tensor, Tensor]:
        """Anchors (B, D) and references (R, D) as :meth:`Distance.block` takes them; one tensor where they are one."""
        if self._kept.prepared is None:
            anchors, references = self.anchors.embeddings, self.references.embeddings
            with torch.set_grad_enabled(self._with_graph):
                rows = self.distance.prepare(anchors, *([] if references is anchors else [references]))
            self._kept.prepared = rows[0], rows[-1]
        return self._kept.prepared

    @property
    def similarities(self) -> Tensor:
        """(B, R) cosine similarities, differentiable; see :meth:`Distance.similarity`."""
        return self.distance.similarity(self.distances)

    @property
    def positive(self) -> Tensor:
        """(B, R) bool: same class, and not the anchor itself."""
        return self._both_masks()[0]

    @property
    def negative(self) -> Tensor:
        """(B, R) bool: another class."""
        return self._both_masks()[1]

    @property
    def negatives_only(self) -> Tensor | None:
        """(R,) bool: the references that are nobody's positives; None where there are none."""
        return self._never

    @property
    def synthetic(self) -> Tensor | None:
        """(R,) bool: the references that are in no data; None where there are none."""
        if self.part is not None:
            of_all = self.part.whole.synthetic
            return None if of_all is None else of_all[self.part.references]
        return _marked(self.segments, [segment.synthetic for segment in self.segments])

    @property
    def same_image(self) -> Tensor:
        """(B, R) bool: another sample of the image that the anchor shows, such as a view of it (``sampler.views``).

        Sides leave out none of them.
        """
        return self.same_image_of(slice(None))

    def same_image_of(self, rows: slice) -> Tensor:
        """The same of some anchors, (r, R) bool."""
        index = self.anchors.index[rows].unsqueeze(1)
        return self._without_self((index == self.references.index) & (index >= 0), rows)

    @property
    def affinity(self) -> Tensor:
        """(B, R) cosine similarities of the pairs in another space, detached; see :meth:`affinity_of`."""
        return self.affinity_of(slice(None))

    def affinity_of(self, rows: slice) -> Tensor:
        """Those of some anchors, (r, R).

        Raises:
            InputError: nothing says which space, or some references are not known there.
        """
        own, others = self.anchors.affine, self.references.affine
        if own is None or others is None:
            raise InputError("some samples have no affinity: name the space that it comes from, without references")
        with torch.no_grad():
            return unit_rows(precise(own[rows])) @ unit_rows(precise(others)).T

    @property
    def classes(self) -> Classes:
        """Which references have the class of an anchor; of all samples, for a comparison :meth:`among` some."""
        if self.part is not None:
            return self.part.whole.classes
        if self._kept.classes is None:
            labels = self.anchors.labels, self.references.labels
            self._kept.classes = Classes(*labels, self.first, self._never, self.sides)
        return self._kept.classes

    def block(self, rows: slice) -> Block:
        """Some anchors, with first and last position given; what is there of the whole is not made again."""
        anchors, references = self.prepared
        masks = self._kept.masks

        def find_masks() -> tuple[Tensor, Tensor]:
            return self._of_rows(rows) if masks is None else (masks[0][rows], masks[1][rows])

        own = anchors if rows == slice(0, len(anchors)) else anchors[rows]
        return Block(rows, own, references, self.distance, find_masks, self._known(rows))

    @property
    def own(self) -> slice:
        """The anchors that this process judges, by first and last position."""
        count = len(self.anchors.labels)
        share = None if self.ranks is None else self.ranks.share(count)
        return slice(0, count) if share is None else share

    def blocks(self, among: slice | None = None) -> Iterator[Block]:
        """All anchors or some, as many at once as suits the device and the bound on memory."""
        anchors, references = self.prepared
        start, stop = (0, len(anchors)) if among is None else (among.start, among.stop)
        step = block_rows(len(references), anchors.device, anchors.element_size(), self.memory_mb)
        if stop - start < len(anchors):
            # A rank holds its own embeddings beside those of all: smaller blocks make up for that.
            step = max(1, step * 3 // 4)
        for first in range(start, stop, step):
            yield self.block(slice(first, min(first + step, stop)))

    def hold(self) -> None:
        """Keep distances of :attr:`own` anchors, without a graph, for blocks that are asked for more than once.

        Those of a small batch alone.
        """
        kept, (anchors, references) = self._kept, self.prepared
        if kept.known is None and kept.distances is None and len(anchors) * len(references) <= KEPT_PAIRS:
            with torch.no_grad():
                distances = measured(self.distance, anchors[self.own].detach(), references.detach())
            kept.known = self.own, distances

    def _known(self, rows: slice) -> Tensor | None:
        """Distances of some anchors, where they are there already."""
        if self._kept.distances is not None:
            return self._kept.distances[rows]
        if self._kept.known is None:
            return None
        of, distances = self._kept.known
        start, stop, _ = rows.indices(len(self.anchors.labels))
        return distances[start - of.start : stop - of.start] if of.start <= start and stop <= of.stop else None

    def only(self, rows: slice) -> "Comparison":
        """The comparison of some anchors alone, with first and last position given, such as the share of a process."""
        anchors, references = self.prepared
        some = Comparison(
            self.anchors.at(rows), self.segments, self.distance, self.moment,
            first=self.first + rows.start, memory_mb=self.memory_mb, across=self.across,
        )  # fmt: skip
        some.weigh, some._with_graph = self.weigh, self._with_graph
        some._kept = _Kept(self.references, (anchors[rows], references))
        return some

    def among(self, rows: Tensor, columns: Tensor) -> "Comparison":
        """The comparison of some anchors (b,) with some references (r,), given by their positions."""
        # References begin with the batch, so one look-up serves both: half the work of two, above all in the backward
        # pass.
        sizes = [len(rows), len(columns)]
        chosen = self.references.at(torch.cat([rows + self.first, columns]))
        nothing = None, None
        halves = zip(*(nothing if one is None else torch.split(one, sizes) for one in chosen), strict=True)
        anchors, references = (Samples(*half) for half in halves)
        some = Comparison(
            anchors, [Segment(references)], self.distance, self.moment,
            first=self.first, memory_mb=self.memory_mb, across=self.across,
        )  # fmt: skip
        some.part, some.weigh = PartOf(self, rows, columns), self.weigh
        some._never = None if self._never is None else self._never[columns]
        self._kept.parts.append(some)
        return some

    def weighed(self, weigh: WeighRows) -> "Comparison":
        """The same comparison, with the same matrices, in which the losses of anchors have factors."""
        other = self._copy()
        other.weigh, other._kept = weigh, self._kept
        return other

    def of_anchors(self) -> "Comparison":
        """The same comparison, whose references have no gradient: what pulls on a pair moves its anchor alone."""
        anchors, references = self.prepared
        other, kept = self._copy(), self._kept
        known = kept.known if kept.distances is None else (slice(0, len(anchors)), kept.distances.detach())
        other._kept = _Kept(self.references, (anchors, references.detach()), None, known, kept.masks, kept.classes)
        return other

    def _copy(self) -> "Comparison":
        other = Comparison(
            self.anchors, self.segments, self.distance, self.moment,
            first=self.first, memory_mb=self.memory_mb, ranks=self.ranks, across=self.across,
        )  # fmt: skip
        other.weigh, other._never, other._with_graph = self.weigh, self._never, self._with_graph
        other.part = self.part
        return other

    def _both_masks(self) -> tuple[Tensor, Tensor]:
        if self._kept.masks is None:
            self._kept.masks = self._of_rows(slice(None))
        return self._kept.masks

    def _of_rows(self, rows: slice) -> tuple[Tensor, Tensor]:
        own, labels = self.anchors.labels[rows].unsqueeze(1), self.references.labels
        positive = own == labels
        negative = ~positive
        if some_are_empty(labels):
            known = labels >= 0
            positive, negative = positive & known, negative & known & (own >= 0)
        if self._never is not None:
            positive &= ~self._never
        sides = self.sides
        if sides is not None:
            reach = sides.reach(rows)
            positive, negative = positive & reach, negative & reach
        return self._without_self(positive, rows), negative

    def _without_self(self, mask: Tensor, rows: slice) -> Tensor:
        """A mask (r, R) of these rows, False where a sample meets itself; in place."""
        if self.part is not None:
            return mask.logical_and_((self.part.anchors[rows] + self.first).unsqueeze(1) != self.part.references)
        start = self.first + (rows.start or 0)
        mask.diagonal(start).fill_(False)
        return mask


def _check_sides(across: Across, anchors: Samples, segments: Sequence[Segment]) -> None:
    if anchors.side is None:
        raise InputError(f"pairs_across={across}: the samples have no sides; use paired data, or leave it out")
    if any(segment.samples.side is None for segment in segments):
        raise InputError(f"pairs_across={across}: some references have no side; leave them out, or give them one")


def _marked(segments: Sequence[Segment], marks: Sequence[bool]) -> Tensor | None:
    """(R,) bool: the references of the segments that are marked; None where there are none."""
    if not any(marks):
        return None
    columns = [
        torch.full_like(segment.samples.labels, mark, dtype=torch.bool)
        for segment, mark in zip(segments, marks, strict=True)
    ]
    return torch.cat(columns)
