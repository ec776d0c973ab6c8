"""Losses that Metriscope and pytorch-metric-learning both have, over one synthetic batch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.measuring import MIB, Times, peak_extra, side_by_side

DIMENSION = 128
LAYOUTS = {"10 classes": lambda batch: torch.arange(batch) % 10, "4 per class": lambda batch: torch.arange(batch) // 4}
"""Labels (B,) of a batch, few classes and many."""

PEER_LIMIT = 6144 * MIB
"""Cases in which the peer would need more than this are not run."""
# Measured: indices, distances, hinges, masks and gradients of a listed triplet at the peak.
_PEER_BYTES_PER_TRIPLET = 50
_LARGEST_NONZERO = 2**31

# Relative differences. In float32, triplets at the edge of a band fall to either side of it.
TOLERANCE = {torch.float64: (1e-9, 1e-9), torch.float32: (1e-5, 1e-3)}

LossOfBatch = Callable[[Tensor, Tensor], Tensor]
"""(B, D) before normalisation and labels (B,) -> the loss."""


@dataclass(frozen=True)
class Contest:
    """One loss on both sides.

    Attributes:
        overrides: our config.
        peer: makes the peer's side for C classes; it is given our loss, whose parameters it may copy.
        differs: why values are not compared; empty where both define the same.
        lists: whether the peer lists all triplets.
    """

    overrides: tuple[str, ...]
    peer: Callable[[int, nn.Module], LossOfBatch]
    differs: str = ""
    lists: bool = True


def _peer(loss: str, miner: str | None = None, power: int = 1, **options: Any) -> Callable[..., LossOfBatch]:
    """The peer's loss by name, with its defaults but for ``options``; a miner is given as ``Class:kind``."""

    def build(classes: int, our_loss: nn.Module) -> LossOfBatch:
        from pytorch_metric_learning import distances, losses, miners

        distance = distances.LpDistance(power=power)
        judge = getattr(losses, loss)(distance=distance, **options)
        if miner is None:
            return judge
        name, _, kind = miner.partition(":")
        chosen = {"margin": options["margin"], "type_of_triplets": kind} if kind else {}
        mine = getattr(miners, name)(distance=distance, **chosen)
        return lambda raw, labels: judge(raw, labels, mine(raw, labels))

    return build


# A margin that some negatives of the batch are within and others are not.
_CONTRASTIVE = ("loss=contrastive", "loss.margin=1.4", "loss.reduction=mean_active", "miner=all")
_TRIPLET = ("loss=triplet", "loss.margin=0.2", "loss.reduction=mean_active")

CONTESTS = {
    "triplet, all": Contest((*_TRIPLET, "miner=all"), _peer("TripletMarginLoss", margin=0.2)),
    "triplet, semi-hard": Contest(
        (*_TRIPLET, "miner=semihard"), _peer("TripletMarginLoss", "TripletMarginMiner:semihard", margin=0.2)
    ),
    "triplet, squared": Contest(
        (*_TRIPLET, "miner=all", "distance=squared_euclidean"), _peer("TripletMarginLoss", power=2, margin=0.2)
    ),
    "triplet, batch-hard": Contest(
        (*_TRIPLET, "miner=batch_hard"), _peer("TripletMarginLoss", "BatchHardMiner", margin=0.2), lists=False
    ),
    "contrastive, plain": Contest(
        (*_CONTRASTIVE, "loss.squared=false"),
        _peer("ContrastiveLoss", neg_margin=1.4),
        lists=False,
    ),
    "contrastive, squared": Contest(
        (*_CONTRASTIVE, "loss.squared=true"),
        _peer("ContrastiveLoss", power=2, neg_margin=1.4),
        differs="the peer squares the distance inside the hinge, max(0, m - d^2); [CT] the hinge, max(0, m - d)^2",
        lists=False,
    ),
}


def sides(name: str, labels: Tensor) -> dict[str, LossOfBatch]:
    """Both sides of a contest; ours from the config that a user would write."""
    from metriscope.build import build_objective
    from metriscope.cli import compose_config
    from metriscope.models.embedder import unit

    contest, classes = CONTESTS[name], int(labels.max()) + 1
    objective = build_objective(compose_config(contest.overrides), classes, DIMENSION)
    return {
        "ours": lambda raw, labels: objective(unit(raw), labels).output.value,
        "peer": contest.peer(classes, objective.loss),
    }


def batch(size: int, layout: str, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """Clustered embeddings (B, D) before normalisation, with active and inactive triplets, and labels (B,)."""
    labels = LAYOUTS[layout](size)
    source = torch.Generator().manual_seed(0)
    centres = torch.randn(int(labels.max()) + 1, DIMENSION, generator=source, dtype=torch.float64)
    noise = torch.randn(size, DIMENSION, generator=source, dtype=torch.float64)
    return (centres[labels] + 1.5 * noise).to(dtype), labels


def triplets(labels: Tensor) -> int:
    """The number of valid (a, p, n)."""
    members = torch.bincount(labels).tolist()
    return sum(count * (count - 1) * (len(labels) - count) for count in members)


def peer_fits(name: str, size: int, layout: str) -> bool:
    """Whether the peer is expected to stay below ``PEER_LIMIT``."""
    if not CONTESTS[name].lists:
        return True
    cube = size**3 if size**3 < _LARGEST_NONZERO else 0
    return cube + _PEER_BYTES_PER_TRIPLET * triplets(LAYOUTS[layout](size)) <= PEER_LIMIT


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


def agreement(name: str, size: int, layout: str, dtype: torch.dtype = torch.float32) -> Agreement:
    """Both sides on one batch.

    Raises:
        AssertionError: they differ by more than ``TOLERANCE``, though both define the same.
    """
    raw, labels = batch(size, layout, dtype)
    (value, gradient), (expected, slope) = (step(side, raw, labels) for side in sides(name, labels).values())
    found = Agreement(
        float((value - expected).abs() / expected.abs().clamp_min(math.ulp(0.0))),
        float((gradient - slope).abs().max() / slope.abs().max()),
    )
    limits = TOLERANCE[dtype]
    if not CONTESTS[name].differs and not (found.value <= limits[0] and found.gradient <= limits[1]):
        raise AssertionError(f"{name}, batch {size}, {layout}, {dtype}: {found} exceeds {limits}")
    return found


class Comparison(NamedTuple):
    """What one process measured of a case; the peer's fields are None where it was not run."""

    agreement: Agreement | None
    ours: Times
    peer: Times | None


def compare(name: str, size: int, layout: str, seconds: float, against_peer: bool = True) -> Comparison:
    """Assert agreement, then time forward and backward of both sides in turns."""
    raw, labels = batch(size, layout)
    chosen = [side for who, side in sides(name, labels).items() if who == "ours" or against_peer]
    found = agreement(name, size, layout) if against_peer else None
    work = [lambda side=side: step(side, raw, labels) for side in chosen]  # type: ignore[misc]
    times = side_by_side(work, seconds=seconds)
    return Comparison(found, times[0], times[1] if against_peer else None)


def memory(name: str, side: str, size: int, layout: str) -> int:
    """Bytes that one step of one side needs at its peak; for a fresh process."""
    raw, labels = batch(size, layout)
    small = batch(32, layout)
    loss = sides(name, labels)[side]
    return peak_extra(lambda: step(loss, raw, labels), lambda: step(loss, *small))
