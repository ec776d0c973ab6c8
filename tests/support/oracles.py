"""Slow, obvious definitions: Python loops over pairs and triples, against which the objectives are held."""

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.base import Distance
from metriscope.objectives.distances.cosine import Cosine
from metriscope.objectives.distances.euclidean import Euclidean, SquaredEuclidean
from metriscope.objectives.losses.triplets.triplet import TripletLoss
from metriscope.objectives.miners.bands import AllMiner
from metriscope.objectives.objective import Objective
from metriscope.objectives.output import LossOutput
from metriscope.objectives.samples import Moment, Samples
from metriscope.objectives.selection import Pairs

INF = float("inf")
DISTANCES: dict[str, type[Distance]] = {d.name: d for d in (Euclidean, SquaredEuclidean, Cosine)}

# |dd/ds| on the unit sphere, from the distance d alone.
FROM_DISTANCE = {
    "euclidean": lambda d: 1 / d if d > 0 else 0.0,
    "squared_euclidean": lambda d: 2.0,
    "cosine": lambda d: 1.0,
}

# Labels of a batch, by what is special about it.
LAYOUTS: dict[str, list[int]] = {
    "few classes": [0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0],
    "many classes": [0, 1, 2, 3, 4, 5, 5, 4, 3, 2, 1, 0],
    "uneven, with a singleton": [3, 3, 3, 3, 3, 3, 1, 1, 7],
    "one class": [4] * 5,
    "all singletons": [0, 1, 2, 3, 4],
    "two of a class": [2, 2],
    "two classes": [0, 1],
    "one sample": [0],
}


class Account(NamedTuple):
    """What a loss has to say of itself, as an oracle finds it."""

    value: Tensor
    active: int
    terms: int


def embeddings(labels: list[int], dtype: torch.dtype = torch.float64, size: int = 4, seed: int = 0) -> Tensor:
    """A leaf (B, D) that depends on the number of samples and the seed alone, of lengths around 1."""
    source = torch.Generator().manual_seed(seed)
    z = torch.randn(len(labels), size, generator=source, dtype=torch.float64) * 0.5
    return z.to(dtype).requires_grad_()


def compare(z: Tensor, labels: list[int], name: str = "euclidean", seed: int = 0) -> Comparison:
    """The comparison of a batch with itself, as a run makes it."""
    objective = Objective(DISTANCES[name](), AllMiner(), TripletLoss())
    moment = Moment(generator=torch.Generator().manual_seed(seed))
    return objective.compare(Samples.of(z, torch.tensor(labels, dtype=torch.int64)), moment)


def against(
    z: Tensor, labels: list[int], references: Tensor, reference_labels: list[int], name: str, **rest: Any
) -> Comparison:
    """The comparison of a batch with references that begin with it; a label of -1 is an empty place of a memory."""
    anchors, every = Samples.of(z, torch.tensor(labels)), Samples.of(references, torch.tensor(reference_labels))
    return Comparison(anchors, [Segment(every)], DISTANCES[name](), Moment(**rest))


def some_pairs(comparison: Comparison, share: float = 0.6, seed: int = 5) -> Pairs:
    """A random part of the pairs, as a miner picks them."""
    kept = torch.rand(comparison.positive.shape, generator=torch.Generator().manual_seed(seed)) < share
    return Pairs(comparison.positive & kept, comparison.negative & kept)


def distance(name: str, a: Tensor, b: Tensor) -> Tensor:
    """Distance of two vectors; at zero its gradient is zero."""
    if name == "cosine":
        return 1 - (a @ b) / (a @ a).sqrt() / (b @ b).sqrt()
    squared = ((a - b) ** 2).sum()
    if name == "squared_euclidean":
        return squared
    return squared.sqrt() if squared > 0 else squared * 0


def distance_table(name: str, z: Tensor, dtype: torch.dtype = torch.float64) -> list[list[Tensor]]:
    z = z.to(dtype)
    return [[distance(name, a, b) for b in z] for a in z]


@cache
def _measured(labels: tuple[int, ...], name: str) -> tuple[Tensor, list[list[Tensor]]]:
    z = embeddings(list(labels))
    return z, distance_table(name, z)


def measured(labels: list[int], name: str = "euclidean") -> tuple[Tensor, list[list[Tensor]]]:
    """Embeddings of these labels and their distances, computed once for all tests: not to be written to."""
    return _measured(tuple(labels), name)


def pairs(labels: list[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Positive and negative pairs (i, j), both orders."""
    B = range(len(labels))
    positive = [(i, j) for i in B for j in B if i != j and labels[i] == labels[j]]
    negative = [(i, j) for i in B for j in B if labels[i] != labels[j]]
    return positive, negative


def triplets_of(positive: list[tuple[int, int]], negative: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    return [(a, p, n) for a, p in positive for b, n in negative if a == b]


def masks(pairs: list[tuple[int, int]], rows: int, columns: int | None = None) -> Tensor:
    mask = torch.zeros(rows, columns or rows, dtype=torch.bool)
    for i, j in pairs:
        mask[i, j] = True
    return mask


def listed(mask: Tensor) -> list[tuple[int, int]]:
    return [(i, j) for i, j in mask.nonzero().tolist()]


def total(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum() if terms else torch.zeros((), dtype=torch.float64)


def mean(terms: list[Tensor]) -> Tensor:
    return total(terms) / max(1, len(terms))


def triplet_account(
    d: list[list[Tensor]],
    triplets: list[tuple[int, int, int]],
    margin: float,
    reduction: str,
    low: float = -INF,
    high: float = INF,
) -> Account:
    """Hinges of the triplets whose gap lies in the band; all triplets given are the terms."""
    hinges = []
    for a, p, n in triplets:
        gap = d[a][n] - d[a][p]
        if low < gap < high and margin - gap > 0:
            hinges.append(margin - gap)
    divisor = {"sum": 1, "mean": len(triplets), "mean_active": len(hinges)}[reduction]
    return Account(total(hinges) / max(1, divisor), len(hinges), len(triplets))


def contrastive_account(
    d: list[list[Tensor]],
    positive: list[tuple[int, int]],
    negative: list[tuple[int, int]],
    margin: float,
    positive_margin: float,
    squared: bool,
    reduction: str,
) -> Account:
    power = 2 if squared else 1
    pulled = [d[i][j] - positive_margin for i, j in positive if d[i][j] > positive_margin]
    pushed = [margin - d[i][j] for i, j in negative if d[i][j] < margin]
    active, terms = len(pulled) + len(pushed), len(positive) + len(negative)
    if reduction == "mean_active":
        value = total([h**power for h in pulled]) / max(1, len(pulled))
        value = value + total([h**power for h in pushed]) / max(1, len(pushed))
    else:
        value = total([h**power for h in pulled + pushed]) / (max(1, terms) if reduction == "mean" else 1)
    return Account(value, active, terms)


def gradient(value: Tensor, leaf: Tensor) -> Tensor:
    """dvalue/dleaf in float64; zeros where there is no way from one to the other."""
    if not value.requires_grad:
        return torch.zeros_like(leaf, dtype=torch.float64)
    found = torch.autograd.grad(value, leaf, allow_unused=True, retain_graph=True)[0]
    return torch.zeros_like(leaf, dtype=torch.float64) if found is None else found.double()


def agree(
    output: LossOutput, z: Tensor, wanted: Account, leaf: Tensor, rtol: float, atol: float
) -> tuple[Tensor, Tensor]:
    """Value and counts of a loss are those of an oracle; returns both gradients, of ``z`` and of its float64 copy."""
    assert (int(output.active), int(output.terms)) == (wanted.active, wanted.terms)
    assert output.active.dtype == output.terms.dtype == torch.int64
    assert output.value.requires_grad
    torch.testing.assert_close(output.value.double(), wanted.value.detach(), rtol=rtol, atol=atol)
    return gradient(output.value, z), gradient(wanted.value, leaf)
