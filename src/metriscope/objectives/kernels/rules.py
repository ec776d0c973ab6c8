"""Rules: what a loss makes of the rows of some anchors, and what the row engine has to know of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from metriscope.errors import InputError
from metriscope.objectives.classes import Members


@dataclass(frozen=True)
class Rows:
    """What a rule sees of some anchors.

    Attributes:
        values: (r, R) similarities, or distances; a rule must not change them.
        positive, negative: (r, R), 1 for pairs that count and 0 for others, or weights of at least 0.
        share: (r, 1), 1 for anchors that count and 0 for others, of which a rule may say anything finite.
        sizes: (r, 2) int64, the numbers of positives and of negatives.
        weighed: whether pairs have weights.
        find: makes :attr:`members`.
        anchors, references: (r, m) and (R, n), further numbers that a loss knows of each; None where there are none.
    """

    values: Tensor
    positive: Tensor
    negative: Tensor
    share: Tensor
    sizes: Tensor
    weighed: bool
    find: Callable[[], Members | None]
    anchors: Tensor | None = None
    references: Tensor | None = None

    @property
    def members(self) -> Members | None:
        """The positives as a list; None where the host would have to wait for their number."""
        return self.find()

    @property
    def pulled(self) -> Tensor:
        """(r, R), 1 for positives, whatever their weight."""
        return (self.positive > 0).to(self.positive.dtype) if self.weighed else self.positive

    @property
    def pushed(self) -> Tensor:
        """(r, R), 1 for negatives, whatever their weight."""
        return (self.negative > 0).to(self.negative.dtype) if self.weighed else self.negative


class Judged(NamedTuple):
    """What a rule says of some anchors.

    Attributes:
        losses: (r, K): K sums over anchors, each of which is scaled by itself in the end.
        slopes: K derivatives (r, R) of the losses by the values, times the anchors' share, each in memory of its own,
            because the engine changes them; None for a plain formula, which is differentiated.
        active: (r, c) int64, counts of active terms.
        by_anchors: (r, m), the derivative of the losses, times the share, by the anchors' numbers.
    """

    losses: Tensor
    slopes: tuple[Tensor, ...] | None = None
    active: Tensor | None = None
    by_anchors: Tensor | None = None


@dataclass(frozen=True)
class Rule:
    """What a loss makes of the rows of some anchors. What it says of a row must not depend on other rows.

    Attributes:
        judge: the rows of some anchors -> what they come to. It may be asked more than once, and has to give the same.
        of_distances: whether it is a function of distances instead of similarities.
        sums: K, the number of losses that it gives for each row.
        reported: the number of further columns of losses, which have no slopes.
        counts: c, the number of counts.
        complete: whether only anchors with a positive and a negative count.
        plain: whether it gives no slopes: a formula, which is differentiated; losses (r, 1) alone will do.
    """

    judge: Callable[[Rows], Judged | Tensor]
    of_distances: bool = False
    sums: int = 1
    reported: int = 0
    counts: int = 0
    complete: bool = True
    plain: bool = False


class Inputs(NamedTuple):
    """Numbers beside the values that a rule depends on; gradients flow into all of them.

    Attributes:
        anchors: (B, m), of each anchor.
        references: (R, n), of each reference.
        parameters: what the rule learns.
    """

    anchors: Tensor | None = None
    references: Tensor | None = None
    parameters: tuple[nn.Parameter, ...] = ()

    def check(self) -> None:
        """Refuse numbers that have no gradient.

        Raises:
            InputError: a tensor of whole numbers.
        """
        for name, column in (("anchors", self.anchors), ("references", self.references)):
            if column is not None and not column.is_floating_point():
                raise InputError(
                    f"Inputs.{name} are of {column.dtype}: give numbers of floating point, into which gradients flow"
                )


def check_slopes(slopes: tuple[Tensor, ...], rows: Rows, sums: int, rule: str) -> None:
    """Refuse what the engine cannot change in place: slopes that share memory with each other or with the rows.

    Raises:
        InputError: naming the rule.
    """
    shape = tuple(rows.values.shape)
    if len(slopes) != sums or any(tuple(one.shape) != shape for one in slopes):
        given = ", ".join(str(tuple(one.shape)) for one in slopes)
        raise InputError(f"{rule} gives slopes {given}: it has to give {sums} of {shape}, one for each sum")
    if torch.compiler.is_compiling() or not rows.values.numel():
        return
    taken = {_place(x) for x in (rows.values, rows.positive, rows.negative)}
    for one in slopes:
        if _place(one) in taken:
            raise InputError(f"{rule} gives one tensor twice, or what it was given, as slopes: give a copy, .clone()")
        taken.add(_place(one))


def _place(x: Tensor) -> tuple[int, int]:
    """Where the numbers of a tensor begin; a tensor without numbers, such as one on ``meta``, has a place as well."""
    return x.untyped_storage()._cdata, int(x.storage_offset())


NO_INPUTS = Inputs()
