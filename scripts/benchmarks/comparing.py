"""Both sides of a contest over one synthetic batch: agreement first, then time and memory."""

import math
from collections.abc import Sequence
from functools import cache, partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.contests import CONTESTS, DIMENSION, LossOfBatch, sizes
from benchmarks.measuring import MIB, Times, peak_extra, side_by_side

if TYPE_CHECKING:
    from metriscope.config.compose import Composer

LAYOUTS = {"10 classes": lambda batch: torch.arange(batch) % 10, "4 per class": lambda batch: torch.arange(batch) // 4}
"""Labels (B,) of a batch, few classes and many."""

PEER_LIMIT = 6144 * MIB
"""Cases in which the peer would need more than this are not run."""

# Relative differences. In float32, terms at the edge of a band or a hinge fall to either side of it.
TOLERANCE = {torch.float64: (1e-9, 1e-9), torch.float32: (1e-5, 1e-3)}


@cache
def _composer() -> "Composer":
    from metriscope.config.compose import Composer

    return Composer()


def built(words: Sequence[str], classes: int, dimension: int = DIMENSION) -> nn.Module:
    """The objective of a user who gives these words on the command line."""
    from metriscope.build.run import objective_of
    from metriscope.config.plain import plain

    return objective_of(plain(_composer()(words)), classes, dimension)


def value_of(objective: nn.Module) -> LossOfBatch:
    """The value of an objective, for embeddings before normalisation."""
    from metriscope.objectives.samples import Spaces
    from metriscope.unit import unit_rows

    return lambda raw, labels: objective(Spaces.of(unit_rows(raw), labels)).output.value


def sides(name: str, labels: Tensor) -> dict[str, LossOfBatch]:
    """Both sides of a contest; ours from the config that a user would write."""
    contest, classes = CONTESTS[name], int(labels.max()) + 1
    ours = built(contest.overrides, classes)
    return {"ours": value_of(ours), "peer": contest.peer(classes, ours.loss)}


def batch(
    size: int, layout: str, dtype: torch.dtype = torch.float32, dimension: int = DIMENSION
) -> tuple[Tensor, Tensor]:
    """Clustered embeddings (B, D) before normalisation, with active and inactive triplets, and labels (B,)."""
    labels = LAYOUTS[layout](size)
    source = torch.Generator().manual_seed(0)
    centres = torch.randn(int(labels.max()) + 1, dimension, generator=source, dtype=torch.float64)
    noise = torch.randn(size, dimension, generator=source, dtype=torch.float64)
    return (centres[labels] + 1.5 * noise).to(dtype), labels


def peer_refusal(name: str, size: int, layout: str) -> str:
    """Why the peer is not run on a case; empty where it is."""
    contest, labels = CONTESTS[name], LAYOUTS[layout](size)
    if contest.equal_classes and len(torch.bincount(labels).unique()) > 1:
        return "refuses"
    return f"> {PEER_LIMIT // MIB} MiB" if contest.peer_bytes(sizes(labels)) > PEER_LIMIT else ""


def step(loss: LossOfBatch, raw: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Forward and backward: the value and its gradient (B, D)."""
    leaf = raw.detach().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


class Agreement(NamedTuple):
    """Largest differences: of the value, relative to it, and of the gradient, relative to its largest entry."""

    value: float
    gradient: float

    @classmethod
    def of(cls, found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> "Agreement":
        """Of two results of :func:`step`."""
        (value, gradient), (other, slope) = found, expected
        return cls(
            float((value - other).abs() / other.abs().clamp_min(math.ulp(0.0))),
            float((gradient - slope).abs().max() / slope.abs().max()),
        )

    def within(self, dtype: torch.dtype) -> bool:
        """Whether both are below the ``TOLERANCE`` of a dtype."""
        return self.value <= TOLERANCE[dtype][0] and self.gradient <= TOLERANCE[dtype][1]


def agreement(name: str, size: int, layout: str, dtype: torch.dtype = torch.float32) -> Agreement:
    """Both sides on one batch.

    Where float32 differs by more than ``TOLERANCE``, float64 decides, in which hardly a term is that near to an edge.

    Raises:
        AssertionError: they differ by more than ``TOLERANCE``, though both define the same.
    """
    raw, labels = batch(size, layout, dtype)
    found = Agreement.of(*(step(side, raw, labels) for side in sides(name, labels).values()))
    contest = CONTESTS[name]
    counted = torch.float32 if contest.single else dtype
    if not contest.differs and not found.within(counted):
        if dtype == torch.float64 or contest.single:
            raise AssertionError(f"{name}, batch {size}, {layout}, {dtype}: {found} exceeds {TOLERANCE[counted]}")
        agreement(name, size, layout, torch.float64)
    return found


class Comparison(NamedTuple):
    """What one process measured of a case; the peer's fields are None where it was not run."""

    agreement: Agreement | None
    ours: Times
    peer: Times | None


def compare(
    name: str, size: int, layout: str, seconds: float, against_peer: bool = True, at_least: int = 3
) -> Comparison:
    """Assert agreement, then time forward and backward of both sides in turns, as :func:`side_by_side`."""
    raw, labels = batch(size, layout)
    chosen = [side for who, side in sides(name, labels).items() if who == "ours" or against_peer]
    found = agreement(name, size, layout) if against_peer else None
    work = [partial(step, side, raw, labels) for side in chosen]
    # What has just agreed is warm.
    times = side_by_side(work, seconds=seconds, at_least=at_least, warm_up=found is None)
    return Comparison(found, times[0], times[1] if against_peer else None)


def memory(name: str, side: str, size: int, layout: str) -> int:
    """Bytes that one step of one side needs at its peak; for a fresh process."""
    raw, labels = batch(size, layout)
    small = batch(32, layout)
    loss = sides(name, labels)[side]
    return peak_extra(lambda: step(loss, raw, labels), lambda: step(loss, *small))
