"""A step, and an exact search, with the hyperbolic distance beside the Euclidean one."""

from functools import partial
from pathlib import Path

import torch

from benchmarks.comparing import batch, built, step, value_of
from benchmarks.measuring import Times, isolated, side_by_side
from benchmarks.table import Table, milliseconds, ratio

LOSSES = ("contrastive", "triplet", "supcon", "infonce")
DISTANCES = ("euclidean", "hyperbolic")
SIZE, POINTS = 2048, 10_000


def run(quick: bool, data_dir: Path | None) -> None:
    """Print the times of both distances in turns, and their ratio."""
    size, points, seconds = (64, 200, 0.0) if quick else (SIZE, POINTS, 5.0)
    print(f"a step of {size:,} x 128, and the 10 neighbours of {points:,} x 128")
    table = Table([("", 12), ("euclidean ms", 16), ("hyperbolic ms", 16), ("ratio", 16)])
    for name in LOSSES:
        euclidean, curved = isolated(steps, name, size, seconds)
        table.row([name, milliseconds(euclidean), milliseconds(curved), ratio(curved, euclidean)])
    euclidean, curved = isolated(searches, points, seconds)
    table.row(["search", milliseconds(euclidean), milliseconds(curved), ratio(curved, euclidean)])


def steps(name: str, size: int, seconds: float) -> list[Times]:
    """From embeddings to their gradient."""
    raw, labels = batch(size, "4 per class")
    objectives = [built([f"loss={name}", f"distance={one}"], int(labels.max()) + 1) for one in DISTANCES]
    return side_by_side([partial(step, value_of(one), raw, labels) for one in objectives], seconds=seconds)


def searches(size: int, seconds: float) -> list[Times]:
    """Neighbours of all points among the others."""
    from metriscope.evaluation.search.curved import Curved
    from metriscope.evaluation.search.neighbors import nearest

    points = torch.randn(size, 128, generator=torch.Generator().manual_seed(0)) / 8
    sides = [partial(nearest, points, points, 10, exclude_self=True, space=one) for one in (None, Curved(0.1, 2.3))]
    return side_by_side(sides, seconds=seconds)
