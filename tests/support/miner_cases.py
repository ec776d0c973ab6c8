"""Comparisons that miners are tried on, and their selections as plain sets."""

from collections.abc import Iterator

import pytest
import torch
from combinations import every
from oracles import DISTANCES, LAYOUTS, against, embeddings, pairs
from torch import Tensor
from torch.nn.functional import normalize

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.selection import Pairs, Selection, Triplets, as_pairs

# Labels of further references, as from a memory: -1 marks places not yet filled.
FURTHER = {"batch": [], "memory": [0, 1, 2, -1, 3, 0, -1, 7]}
all_cases = every(layout=list(LAYOUTS), further=list(FURTHER))
distances = pytest.mark.parametrize("name", sorted(DISTANCES))


def case(
    layout: str | list[int],
    further: str = "batch",
    name: str = "euclidean",
    epoch: int = 0,
    seed: int = 0,
    apart: float = 0.0,
) -> Comparison:
    """A comparison of L2-normalised embeddings of a layout with themselves and with further references.

    ``apart`` moves classes away from each other.
    """
    own = LAYOUTS[layout] if isinstance(layout, str) else layout
    every = own + FURTHER[further]
    z = embeddings(every, seed=seed) + apart * embeddings(list(range(9)), seed=9)[torch.tensor(every)]
    z = torch.nn.functional.normalize(z, dim=1)
    anchors = z[: len(own)].detach().requires_grad_()
    references = torch.cat([anchors, z[len(own) :].detach()])
    generator = torch.Generator().manual_seed(seed)
    return against(anchors, own, references, every, name, generator=generator, epoch=epoch)


def rows(comparison: Comparison) -> list[tuple[int, list[float], list[int], list[int]]]:
    """Per anchor: its number, its distances, its positives, its negatives."""
    return [
        (a, d, [j for j, yes in enumerate(p) if yes], [j for j, yes in enumerate(n) if yes])
        for a, (d, p, n) in enumerate(
            zip(comparison.distances.tolist(), comparison.positive.tolist(), comparison.negative.tolist(), strict=True)
        )
    ]


def cells(mask: Tensor) -> set[tuple[int, int]]:
    return {(i, j) for i, j in mask.nonzero().tolist()}


def pair_sets(
    selection: Selection, comparison: Comparison | None = None
) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """The selected pairs; those that an anchor's own row decides need the comparison."""
    pairs = selection if comparison is None else as_pairs(selection, comparison)
    assert isinstance(pairs, Pairs)
    return cells(pairs.positive), cells(pairs.negative)


def triplet_set(triplets: Triplets) -> set[tuple[int, int, int]]:
    columns = zip(
        *(x.tolist() for x in (triplets.anchor, triplets.positive, triplets.negative, triplets.valid)), strict=True
    )
    found = [(a, p, n) for a, p, n, valid in columns if valid]
    assert len(found) == len(set(found))
    return set(found)


def peer_pairs(miner: object, comparison: Comparison) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """What a miner of pytorch-metric-learning says of a batch compared with itself."""
    a1, p, a2, n = (x.tolist() for x in miner(comparison.anchors.embeddings.detach(), comparison.anchors.labels))  # type: ignore[operator]
    return set(zip(a1, p, strict=True)), set(zip(a2, n, strict=True))


def chosen(triplets: Triplets) -> list[tuple[int, ...]]:
    """The valid entries as tuples."""
    columns = (triplets.anchor, triplets.positive, triplets.negative)
    rows = torch.stack(columns, 1)[triplets.valid].tolist()
    return [tuple(row) for row in rows]


def by_anchor(labels: list[int]) -> Iterator[tuple[int, list[int], list[int]]]:
    """Per anchor of a batch: its number, its positives, its negatives."""
    positive, negative = pairs(labels)
    for a in range(len(labels)):
        yield a, [p for b, p in positive if a == b], [n for b, n in negative if a == b]


def blended(name: str, z: Tensor, p: int, n: int, share: float, spherical: bool) -> Tensor:
    """The interpolated negative itself, between rows ``p`` and ``n`` of ``z``."""
    if name == "cosine":
        return share * normalize(z[p], dim=0) + (1 - share) * normalize(z[n], dim=0)
    point = share * z[p] + (1 - share) * z[n]
    return normalize(point, dim=0) if spherical else point
