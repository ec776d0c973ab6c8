"""Which references have the class of an anchor, found by one sort of the labels."""

from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.numerics import equal
from metriscope.objectives.sides import Sides


class Members(NamedTuple):
    """The positives of some anchors as a list.

    Attributes:
        columns: (r, P) int64, places among the references; anything where none is present.
        present: (r, P) bool.
    """

    columns: Tensor
    present: Tensor


class Classes:
    """The classes of anchors and references.

    Args:
        own: (B,) labels of the anchors.
        labels: (R,) labels of the references, below 2**24 of them; -1 for none.
        first: the position of the first anchor among the references.
        never: (R,) bool, references that are nobody's positives; None for none.
        sides: leave pairs out; None for none. A class is then the samples of one label on one side.
    """

    def __init__(
        self, own: Tensor, labels: Tensor, first: int, never: Tensor | None, sides: Sides | None = None
    ) -> None:
        self.sides = sides
        if sides is not None:
            own, labels = sides.keys(own, labels)
        ordered, self.order = labels.sort(stable=True)
        self.start = torch.searchsorted(ordered, own)
        self.size = torch.searchsorted(ordered, own, right=True) - self.start
        # Small whole numbers stand for labels: numbers of floating point compare many times as fast.
        self.every = self.start if labels is own else torch.searchsorted(ordered, labels)
        self.own, self.labels, self.first, self.never = own, labels, first, never
        self._numbers: tuple[Tensor, Tensor] | None = None
        self._sizes: Tensor | None = None
        self.places: Tensor | None = None
        """(R,), the place of each reference in the order of classes, once it is asked for."""
        self.some_are_empty = sides is None and some_are_empty(labels)

    @property
    def itself(self) -> Tensor | int:
        """How often an anchor is among the samples of its class: 1, or (B,) where sides decide."""
        if self.sides is None:
            return 1
        return (self.own >= 0).long() if self.sides.across == "same" else torch.zeros_like(self.own)

    @property
    def sizes(self) -> Tensor:
        """(B, 2) int64, the numbers of positives and of negatives of each anchor."""
        if self._sizes is None:
            self._sizes = self._count()
        return self._sizes

    def _count(self) -> Tensor:
        same = self.size
        positives = same - self.itself
        if self.never is not None:
            barred = torch.cat([self.never.new_zeros(1), self.never[self.order]]).cumsum(0)
            positives = positives - (barred[self.start + same] - barred[self.start])
        if self.sides is not None:
            known = self.labels >= 0
            there = torch.stack([(known & (self.sides.given == side)).sum() for side in (0, 1)])
            reached = there[self.sides.wanted.clamp_min(0)] * (self.own >= 0)
            return torch.stack([positives, reached - same], 1)
        if not self.some_are_empty:
            return torch.stack([positives, len(self.labels) - same], 1)
        known = self.own >= 0
        return torch.stack([positives * known, ((self.labels >= 0).sum() - same) * known], 1)

    def numbers(self, rows: slice, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Positives and negatives of some anchors, (r, R) each, 1 and 0 elsewhere."""
        if self._numbers is None or self._numbers[0].dtype != dtype:
            # A class of which there is no reference would have the number of the next one.
            start = self.start if self.sides is None else torch.where(self.size > 0, self.start, -1)
            own = start.to(dtype)
            self._numbers = own, own if self.every is self.start else self.every.to(dtype)
        own, every = self._numbers
        positive = equal(own[rows].unsqueeze(1), every)
        negative = 1 - positive if self.sides is None else self._reached(rows, dtype) - positive
        if self.some_are_empty:
            known = (self.own[rows] >= 0).unsqueeze(1).to(dtype)
            positive.mul_(known)
            negative.mul_((self.labels >= 0).to(dtype)).mul_(known)
        if self.never is not None:
            positive.mul_((~self.never).to(dtype))
        positive.diagonal(self.first + rows.start).fill_(0)
        return positive, negative

    def _reached(self, rows: slice, dtype: torch.dtype) -> Tensor:
        """(r, R), 1 for references of the side that an anchor is compared with, whatever their class, else 0."""
        assert self.sides is not None
        wanted = torch.where(self.own >= 0, self.sides.wanted, -2)[rows].to(dtype)
        return equal(wanted.unsqueeze(1), torch.where(self.labels >= 0, self.sides.given, -1).to(dtype))

    def members(self, rows: slice) -> Members | None:
        """The positives of some anchors; None where the host would have to wait for the size of a class."""
        if self.order.device.type != "cpu" or torch.compiler.is_compiling():
            return None
        start, count = self.start[rows], len(self.own[rows])
        itself = self.itself if isinstance(self.itself, int) else self.itself[rows]
        sizes = self.size[rows] - itself
        width = max(1, int(sizes.max())) if count else 1
        if self.places is None:
            self.places = torch.empty_like(self.order).scatter_(0, self.order, torch.arange(len(self.order)))
        own = self.places[self.first + rows.start : self.first + rows.start + count]
        steps = start.unsqueeze(1) + torch.arange(width)
        present = steps < (start + sizes).unsqueeze(1)
        if self.some_are_empty:
            present &= (self.own[rows] >= 0).unsqueeze(1)
        # The anchor itself is stepped over.
        over = steps >= own.unsqueeze(1)
        steps += over if isinstance(itself, int) else over & (itself > 0).unsqueeze(1)
        columns = self.order.take(steps.clamp_max_(len(self.order) - 1))
        if self.never is not None:
            present &= ~self.never[columns]
        return Members(columns, present)


def listed(mask: Tensor) -> Members | None:
    """The entries of a mask (r, R) as a list; None where the host would have to wait for their number."""
    if mask.device.type != "cpu" or torch.compiler.is_compiling():
        return None
    row, column = mask.nonzero().unbind(1)
    counts = torch.bincount(row, minlength=len(mask))
    place = torch.arange(len(row)) - (counts.cumsum(0) - counts)[row]
    columns = torch.zeros(len(mask), max(1, int(counts.max()) if len(mask) else 1), dtype=torch.int64)
    columns[row, place] = column
    return Members(columns, torch.arange(columns.shape[1]) < counts.unsqueeze(1))


def some_are_empty(labels: Tensor) -> bool:
    """Whether a label may be -1; the host looks only where it need not wait."""
    if labels.device.type != "cpu" or torch.compiler.is_compiling():
        return True
    return bool(len(labels)) and int(labels.min()) < 0
