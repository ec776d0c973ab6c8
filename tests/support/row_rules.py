"""Rules of every kind that the row engine takes, over a batch with a memory, and what it finds for them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from oracles import DISTANCES, embeddings
from row_oracles import LABELLED, MEMORY, memory_embeddings
from torch import Tensor, nn

from metriscope.losses import NCALoss
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.kernels import pairs, softmax
from metriscope.objectives.kernels.bands import hinges_over
from metriscope.objectives.kernels.rows import RowSums, over_rows
from metriscope.objectives.kernels.rules import NO_INPUTS, Inputs, Judged, Rows, Rule
from metriscope.objectives.samples import Samples
from metriscope.objectives.selection import Selection, TripletBand

INF = float("inf")
_ALL = TripletBand()
B, R = len(LABELLED), len(LABELLED) + len(MEMORY)


def numbers(rows: int, columns: int, seed: int) -> Tensor:
    """A leaf of numbers that a loss knows of each sample."""
    source = torch.Generator().manual_seed(seed)
    return (0.5 + torch.rand(rows, columns, dtype=torch.float64, generator=source)).requires_grad_()


def of_numbers(rows: Rows) -> Tensor:
    """A sum over negatives that depends on two numbers of an anchor and one of a reference."""
    assert rows.anchors is not None
    assert rows.references is not None
    factors = (rows.anchors[:, :1] - rows.references.T).square() + rows.anchors[:, 1:]
    return (rows.values.square() * factors * rows.negative).sum(1, keepdim=True)


TEMPERATURE = nn.Parameter(torch.tensor(0.7, dtype=torch.float64))


def learned(rows: Rows) -> Tensor:
    """A softmax at a temperature that is learned."""
    logits = rows.values / TEMPERATURE
    every = (logits.exp() * (rows.positive + rows.negative)).sum(1, keepdim=True)
    return every.log() - (logits * rows.positive).sum(1, keepdim=True) / rows.positive.sum(1, keepdim=True).clamp_min(1)


def everything(rows: Rows) -> Judged:
    """Two sums and a reported one, of numbers and a parameter, with a count."""
    one = of_numbers(rows) * TEMPERATURE
    other = (rows.values * rows.positive).sum(1, keepdim=True)
    count = (rows.values * rows.positive > 0).sum(1, keepdim=True)
    return Judged(torch.cat([one, other, one.detach() + 1], 1), active=count)


@dataclass(frozen=True)
class Case:
    """A rule, and the leaves that it depends on beside embeddings."""

    rule: Rule
    inputs: Inputs = NO_INPUTS

    @property
    def leaves(self) -> list[Tensor]:
        own = [x for x in (self.inputs.anchors, self.inputs.references) if x is not None]
        return [*own, *self.inputs.parameters]

    def beside(self, references: int) -> "Case":
        """That of the first references alone."""
        own = None if self.inputs.references is None else self.inputs.references[:references]
        return Case(self.rule, self.inputs._replace(references=own))

    def at(self, rows: slice) -> "Case":
        """That of some anchors."""
        anchors = None if self.inputs.anchors is None else self.inputs.anchors[rows]
        return Case(self.rule, self.inputs._replace(anchors=anchors))


def two_sums(rows: Rows) -> Judged:
    """Squared hinges of positives and of negatives, and how many are above zero."""
    pulls, pushes = (rows.values - 0.2).clamp_min(0) * rows.positive, (1 - rows.values).clamp_min(0) * rows.negative
    losses = torch.stack([side.square().sum(1) for side in (pulls, pushes)], 1)
    active = torch.stack([(side > 0).sum(1) for side in (pulls, pushes)], 1)
    return Judged(losses, None if losses.requires_grad else (2 * pulls, -2 * pushes), active)


_SUMS = {"of_distances": True, "sums": 2, "counts": 2, "complete": False}
_NUMBERS = Inputs(numbers(B, 2, 1), numbers(R, 1, 2))
CASES = {
    "by hand, of similarities": Case(pairs.multi_similarity(2.0, 5.0, 0.5)),
    "by hand, of distances": Case(softmax.neighbours(1.5)),
    "by hand, of listed positives": Case(softmax.one_among_negatives(0.4)),
    "bands of triplets": Case(hinges_over(0.5, -0.2, INF)),
    "two sums by hand": Case(Rule(two_sums, **_SUMS)),
    "anchors' numbers by hand": Case(pairs.boundaries(0.2, False), Inputs(numbers(B, 1, 3))),
    "reported by hand": Case(pairs.ranked_lists(1.2, 0.4, 0.5, (0.0, 5.0), False)),
    "plain": Case(Rule(NCALoss().formula, of_distances=True, plain=True)),
    "two sums, plain": Case(Rule(two_sums, plain=True, **_SUMS)),
    "numbers, plain": Case(Rule(of_numbers, plain=True), _NUMBERS),
    "learned": Case(Rule(learned, plain=True), Inputs(parameters=(TEMPERATURE,))),
    "everything, plain": Case(
        Rule(everything, sums=2, reported=1, counts=1, plain=True), _NUMBERS._replace(parameters=(TEMPERATURE,))
    ),
}


def batch_and_memory(
    name: str = "euclidean",
    dtype: torch.dtype = torch.float64,
    memory_mb: float | None = None,
    weigh: Callable[[Tensor, Tensor], Tensor] | None = None,
    memory: bool = True,
) -> tuple[Comparison, list[Tensor]]:
    """A comparison, and its leaves: a memory has gradients here, so that they can be looked at."""
    z, past = embeddings(LABELLED, dtype), memory_embeddings(True).to(dtype).requires_grad_()
    batch = Samples.of(z, torch.tensor(LABELLED), torch.arange(B))
    further = [Segment(Samples.of(past, torch.tensor(MEMORY)))] if memory else []
    comparison = Comparison(batch, [Segment(batch), *further], DISTANCES[name](), memory_mb=memory_mb)
    return (comparison if weigh is None else comparison.weighed(weigh)), [z, past] if memory else [z]


def counted(case: Case) -> tuple[Case, list[int]]:
    """The same case, and the numbers of anchors of the blocks that its rule is asked about."""
    sizes: list[int] = []

    def judge(rows: Rows) -> Any:
        sizes.append(len(rows.values))
        return case.rule.judge(rows)

    return Case(replace(case.rule, judge=judge), case.inputs), sizes


def gradients(value: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    """Zeros where there is no way to a leaf; the graph stays."""
    if not leaves or not value.requires_grad:
        return [torch.zeros_like(x) for x in leaves]
    found = torch.autograd.grad(value, leaves, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]


def facts(found: RowSums, leaves: list[Tensor]) -> dict[str, Tensor]:
    """All that the engine finds, with gradients."""
    named = {name: getattr(found, name) for name in ("losses", "active", "sizes", "valid")}
    for k, total in enumerate(found.totals):
        named[f"total {k}"] = total.detach()
        named |= {f"gradient {k}, {i}": slope for i, slope in enumerate(gradients(total, leaves))}
    return named


def run(case: Case, comparison: Comparison, leaves: list[Tensor], selection: Selection = _ALL) -> dict[str, Tensor]:
    """The facts of one case, with gradients of these leaves."""
    found = over_rows(comparison, selection, case.rule, case.inputs)
    return facts(found, leaves)


def agree(found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float = 1e-12) -> None:
    """Equal up to rounding, and exactly where numbers are whole."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, name=name: f"{name}: {m}"
        )
