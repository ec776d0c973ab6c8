"""Slow, obvious losses over each anchor's positives and negatives, and what holds for all losses of this kind."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from oracles import LAYOUTS, Account, against, agree, distance, embeddings, mean
from oracles import some_pairs as some_pairs_of
from torch import Tensor

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.selection import Pairs, TripletBand

DTYPES = (torch.float64, torch.float32)
# Labels of references beyond the batch; -1 is an empty place of a memory.
MEMORY = [0, 3, 1, -1, 4, 9, -1]
LABELLED = [0, 0, 1, 1, 2, 2, 2, 0, 1, 2]


@dataclass(frozen=True)
class Slow:
    """A batch as an oracle sees it."""

    z: Tensor
    """Leaf (B, D) float64."""
    references: list[Tensor]
    name: str
    labels: list[int]
    positive: list[list[int]]
    negative: list[list[int]]

    @cached_property
    def distances(self) -> list[list[Tensor]]:
        return [[distance(self.name, anchor, r) for r in self.references] for anchor in self.references[: len(self.z)]]

    @property
    def full_anchors(self) -> list[int]:
        return [a for a in range(len(self.z)) if self.positive[a] and self.negative[a]]

    def similarity(self, i: int, j: int) -> Tensor:
        return self.references[i] @ self.references[j] / self.references[i].norm() / self.references[j].norm()


def memory_embeddings(memory: bool) -> Tensor:
    source = torch.Generator().manual_seed(77)
    return torch.randn(len(MEMORY) if memory else 0, 4, dtype=torch.float64, generator=source) * 0.5


def fast(z: Tensor, labels: list[int], name: str, memory: bool = False) -> Comparison:
    """A batch compared with itself and, as with a cross-batch memory, with further references."""
    references = torch.cat([z, memory_embeddings(memory).to(z.dtype)]) if memory else z
    return against(z, labels, references, labels + (MEMORY if memory else []), name)


def slow(z: Tensor, labels: list[int], name: str, memory: bool = False, pairs: Pairs | None = None) -> Slow:
    leaf = z.detach().double().requires_grad_()
    references = list(leaf) + list(memory_embeddings(memory))
    every = labels + (MEMORY if memory else [])
    rows, columns = range(len(labels)), range(len(every))
    positive = [[j for j in columns if j != i and every[j] == labels[i]] for i in rows]
    negative = [[j for j in columns if every[j] not in (labels[i], -1)] for i in rows]
    if pairs is not None:
        positive = [[j for j in positive[i] if pairs.positive[i, j]] for i in rows]
        negative = [[j for j in negative[i] if pairs.negative[i, j]] for i in rows]
    return Slow(leaf, references, name, labels, positive, negative)


def scaled(labels: list[int], dtype: torch.dtype, scale: float) -> Tensor:
    return (embeddings(labels, dtype).detach() * scale).requires_grad_()


@cache
def slow_once(labels: tuple[int, ...], name: str, dtype: torch.dtype, memory: bool, scale: float) -> Slow:
    """What all losses and forms of a loss ask for alike."""
    return slow(scaled(list(labels), dtype, scale), list(labels), name, memory)


def gradients(value: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(value, leaves, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]


def hold(
    loss: Any,
    oracle: Callable[[Slow], Account],
    labels: list[int],
    name: str,
    dtype: torch.dtype,
    memory: bool = False,
    pairs: Pairs | None = None,
    scale: float = 1.0,
) -> None:
    """Value, gradient with respect to embeddings and account of a loss are those of an oracle."""
    z = scaled(labels, dtype, scale)
    output = loss(fast(z, labels, name, memory), TripletBand() if pairs is None else pairs)
    if pairs is None:
        batch = slow_once(tuple(labels), name, dtype, memory, scale)
    else:
        batch = slow(z, labels, name, memory, pairs)
    assert output.value.dtype == dtype
    rtol, atol, slope = (1e-9, 1e-10, 1e-9) if dtype == torch.float64 else (1e-4, 1e-5, 1e-4)
    found, wanted = agree(output, z, oracle(batch), batch.z, rtol, atol)
    torch.testing.assert_close(found, wanted, rtol=0, atol=slope * max(1.0, float(wanted.abs().max())))


def some_pairs(memory: bool = False) -> Pairs:
    """A miner's pick of the labelled batch's pairs."""
    return some_pairs_of(fast(embeddings(LABELLED), LABELLED, "euclidean", memory))


def runs_compiled_and_in_bfloat16(loss: Any, name: str) -> None:
    """One graph without a break gives the same value and gradient; bfloat16 embeddings are taken."""
    z = embeddings(LABELLED, torch.float32)
    comparison = fast(z, LABELLED, name, memory=True)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    outputs = [judge(comparison, TripletBand()).value for judge in (loss, compiled)]
    plain, graphed = (torch.autograd.grad(value, z, retain_graph=True)[0] for value in outputs)
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(graphed, plain, rtol=1e-4, atol=1e-6)
    small = z.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(fast(small, LABELLED, name), TripletBand()).value
    value.backward()
    exact = loss(fast(small.detach().float(), LABELLED, name), TripletBand()).value
    assert value.dtype == torch.float32
    assert small.grad is not None
    assert small.grad.isfinite().all()
    torch.testing.assert_close(value.detach(), exact.detach(), rtol=1e-4, atol=1e-5)


def equal_to_peer(loss: Any, peer: Any, name: str, tolerance: float = 1e-9) -> None:
    """Value and gradient are those of a loss of pytorch-metric-learning on normalised embeddings."""
    raw = embeddings(LABELLED).detach()
    results = []
    for judge in (
        lambda z: loss(fast(z, LABELLED, name), TripletBand()).value,
        lambda z: peer(z, torch.tensor(LABELLED)),
    ):
        leaf = raw.clone().requires_grad_()
        value = judge(torch.nn.functional.normalize(leaf, dim=1))
        results.append((value, gradients(value, [leaf])[0]))
    (value, gradient), (wanted, wanted_gradient) = results
    assert wanted > 0
    torch.testing.assert_close(value, wanted, rtol=tolerance, atol=0)
    torch.testing.assert_close(
        gradient, wanted_gradient, rtol=0, atol=tolerance * max(1.0, float(gradient.abs().max()))
    )


__all__ = [
    "DTYPES", "LABELLED", "LAYOUTS", "MEMORY", "Account", "Slow", "equal_to_peer", "fast", "gradients", "hold", "mean",
    "runs_compiled_and_in_bfloat16", "slow", "some_pairs",
]  # fmt: skip
