"""What a rule comes to over all anchors of a comparison."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.output import LossOutput, PairSlopes


class ByAnchor:
    """Rows of all anchors, which are found for a block of anchors at a time.

    Those of several blocks are copied into one tensor at once: small tensors that stay among large ones that are freed
    would leave the heap in pieces, of which each block needs new ones.

    Args:
        count: B.
        none: (0, ...), of no anchors.
    """

    def __init__(self, count: int, none: Tensor) -> None:
        self.count = count
        self.rows = none

    def put(self, rows: slice, found: Tensor) -> None:
        """Take the rows of a block of anchors."""
        if len(found) == self.count:
            self.rows = found
            return
        if len(self.rows) != self.count:
            self.rows = found.new_zeros(self.count, *found.shape[1:])
        self.rows[rows] = found


class Total:
    """The sum of what blocks of anchors come to.

    Args:
        nothing: the sum over no block.
    """

    def __init__(self, nothing: Tensor) -> None:
        self.value = nothing

    def add(self, found: Tensor) -> None:
        """Add what a block comes to."""
        self.value += found


class RowSums(NamedTuple):
    """What a rule comes to over all anchors; anchors that do not count hold zeros.

    Attributes:
        totals: K scalars, attached to the graph: sums of the losses, each times its anchor's factor.
        losses: (B, K and those reported) detached, without factors.
        active: (c,) int64.
        sizes: (B, 2) int64, the numbers of positives and of negatives.
        valid: (B, 1) bool, the anchors that count.
        slopes: (K scales, anchors) -> the derivative of sum(scales * totals), computed anew; None in a
            compiled graph.
    """

    totals: tuple[Tensor, ...]
    losses: Tensor
    active: Tensor
    sizes: Tensor
    valid: Tensor
    slopes: Callable[[Sequence[Tensor], slice], PairSlopes] | None

    def output(
        self, scale: Tensor | Sequence[Tensor], active: Tensor, terms: Tensor, parts: dict[str, Tensor]
    ) -> LossOutput:
        """A loss that is sum(scale * totals), with one scale for all sums or one for each."""
        scales = [scale] * len(self.totals) if isinstance(scale, Tensor) else list(scale)
        scaled = [total * by.to(total.dtype) for total, by in zip(self.totals, scales, strict=True)]
        value = scaled[0] if len(scaled) == 1 else torch.stack(scaled).sum()
        slopes = None if self.slopes is None else partial(self.slopes, scales)
        return LossOutput(value, active, terms, parts, slopes=slopes, compiled=slopes is None)
