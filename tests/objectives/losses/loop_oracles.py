"""Holds a loss against loops over anchors, in value, account and gradient, over layouts, dtypes and references."""

from collections.abc import Callable

import torch
from oracles import DISTANCES, LAYOUTS, Account, compare, distance, embeddings, gradient, total
from torch import Tensor

from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Comparison, Pairs, Selection, TripletBand

TOLERANCE = {torch.float64: 1e-9, torch.float32: 3e-5}
DTYPES = list(TOLERANCE)
# Layouts, and one with further references of which some are empty places.
CASES = [*LAYOUTS, "with a memory"]
Anchor = tuple[list[Tensor], list[int], list[int]]
"""Row of the matrix, columns of the positives, columns of the negatives."""


def case(name: str, dtype: torch.dtype, metric: str, seed: int = 0) -> tuple[Tensor, Comparison]:
    """The leaf and the comparison of a case; references beyond the batch are constants."""
    if name != "with a memory":
        z = embeddings(LAYOUTS[name], dtype, seed=seed)
        return z, compare(z, LAYOUTS[name], metric)
    labels, more = torch.tensor([0, 0, 1, 2, 2, 2]), torch.tensor([1, 0, -1, 3, -1, 1, 2])
    z, past = embeddings(labels.tolist(), dtype, seed=seed), embeddings(more.tolist(), dtype, seed=seed + 1).detach()
    references, every = torch.cat([z, past]), torch.cat([labels, more])
    same = labels.unsqueeze(1) == every
    measure = DISTANCES[metric]()
    comparison = Comparison(
        embeddings=z,
        labels=labels,
        references=references,
        reference_labels=every,
        distances=measure(z, references),
        positive=same & ~torch.eye(len(labels), len(every), dtype=torch.bool),
        negative=~same & (every >= 0),
        distance=measure,
    )
    return z, comparison


def anchors(comparison: Comparison, leaf: Tensor, metric: str, pairs: Pairs | None = None) -> list[Anchor]:
    """Rows of distances (``metric``) or cosine similarities ("similarity") in float64, attached to ``leaf``."""
    references = torch.cat([leaf, comparison.references[len(leaf) :].detach().double()])
    positive, negative = (pairs or comparison).positive, (pairs or comparison).negative
    rows = []
    for i, a in enumerate(leaf):
        if metric == "similarity":
            row = [1 - distance("cosine", a, b) for b in references]
        else:
            row = [distance(metric, a, b) for b in references]
        rows.append((row, positive[i].nonzero().flatten().tolist(), negative[i].nonzero().flatten().tolist()))
    return rows


def hold(
    loss: Loss,
    oracle: Callable[[list[Anchor]], Account],
    name: str,
    dtype: torch.dtype,
    metric: str = "cosine",
    matrix: str = "similarity",
    selection: Selection | None = None,
) -> LossOutput:
    z, comparison = case(name, dtype, metric)
    output = loss(comparison, selection or TripletBand())
    leaf = z.detach().double().requires_grad_()
    pairs = selection if isinstance(selection, Pairs) else None
    wanted = oracle(anchors(comparison, leaf, matrix, pairs))
    tolerance = TOLERANCE[dtype]
    assert (int(output.active), int(output.terms)) == (wanted.active, wanted.terms)
    assert output.active.dtype == output.terms.dtype == torch.int64
    assert output.value.requires_grad
    torch.testing.assert_close(output.value.double(), wanted.value.detach(), rtol=tolerance, atol=tolerance)
    found = gradient(output.value, z)
    expected = gradient(wanted.value, leaf)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * (1 + float(expected.abs().max())))
    return output


def mean_of(per_anchor: Callable[[list[Tensor], list[int], list[int]], list[Tensor]]) -> Callable[..., Account]:
    """The mean over terms that each anchor with a positive and a negative gives."""

    def oracle(rows: list[Anchor]) -> Account:
        terms = [t for row, p, n in rows if p and n for t in per_anchor(row, p, n)]
        return Account(total(terms) / max(1, len(terms)), len(terms), len(terms))

    return oracle


def some_pairs(comparison: Comparison, share: float = 0.6, seed: int = 5) -> Pairs:
    """A random part of the pairs."""
    kept = torch.rand(comparison.positive.shape, generator=torch.Generator().manual_seed(seed)) < share
    return Pairs(comparison.positive & kept, comparison.negative & kept)


def hold_selected_pairs(loss: Loss, oracle: Callable[[list[Anchor]], Account], **options: str) -> None:
    for name in ("few classes", "with a memory"):
        _, comparison = case(name, torch.float64, options.get("metric", "cosine"))
        hold(loss, oracle, name, torch.float64, selection=some_pairs(comparison), **options)


def hold_form(loss: Loss, metric: str = "cosine") -> None:
    """bfloat16 embeddings, autocast, capture as one graph, and rows split into chunks."""
    labels = LAYOUTS["few classes"]
    z = embeddings(labels, torch.bfloat16)
    comparison = compare(z, labels, metric)
    output = loss(comparison, TripletBand())
    assert output.value.dtype == torch.float32
    output.value.backward()
    assert z.grad is not None
    assert z.grad.isfinite().all()

    z = embeddings(labels, torch.float32)

    def value(comparison: Comparison) -> tuple[Tensor, Tensor]:
        output = loss(comparison, TripletBand())
        return output.value, output.terms

    plain, terms = value(compare(z, labels, metric))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under, _ = value(compare(z, labels, metric))
    torch.testing.assert_close(under, plain, rtol=1e-6, atol=1e-6)
    torch._dynamo.reset()
    captured, captured_terms = torch.compile(value, fullgraph=True, backend="eager")(compare(z, labels, metric))
    torch.testing.assert_close(captured, plain, rtol=1e-5, atol=1e-6)
    assert int(captured_terms) == int(terms)
    torch.testing.assert_close(gradient(captured, z), gradient(plain, z), rtol=1e-4, atol=1e-5)


def balanced(classes: int, per_class: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Embeddings sorted by class, where pytorch-metric-learning and the loss are to agree."""
    labels = torch.arange(classes).repeat_interleave(per_class)
    return embeddings(labels.tolist(), dtype, size=8), labels


def hold_library(
    loss: Loss,
    library: Callable[..., Tensor],
    z: Tensor,
    labels: Tensor,
    metric: str = "cosine",
    tolerance: float = 1e-7,
) -> None:
    """Equal in value and gradient to pytorch-metric-learning, which normalises embeddings itself."""
    ours = loss(compare(torch.nn.functional.normalize(z, dim=1), labels.tolist(), metric), TripletBand()).value
    theirs = library(z, labels)
    torch.testing.assert_close(ours, theirs.double(), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(gradient(ours, z), gradient(theirs, z), rtol=tolerance, atol=tolerance)
