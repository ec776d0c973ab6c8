"""Holds a loss against loops over anchors, in value, account and gradient, over layouts, dtypes and references."""

from collections.abc import Callable

import torch
from oracles import LAYOUTS, Account, against, agree, compare, distance, embeddings, gradient, mean, some_pairs
from torch import Tensor

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs, Selection, TripletBand

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
    labels, more = [0, 0, 1, 2, 2, 2], [1, 0, -1, 3, -1, 1, 2]
    z, past = embeddings(labels, dtype, seed=seed), embeddings(more, dtype, seed=seed + 1).detach()
    return z, against(z, labels, torch.cat([z, past]), labels + more, metric)


def anchors(comparison: Comparison, leaf: Tensor, metric: str, pairs: Pairs | None = None) -> list[Anchor]:
    """Rows of distances (``metric``) or cosine similarities ("similarity") in float64, attached to ``leaf``."""
    references = torch.cat([leaf, comparison.references.embeddings[len(leaf) :].detach().double()])
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
    found, expected = agree(output, z, wanted, leaf, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance * (1 + float(expected.abs().max())))
    return output


def mean_of(per_anchor: Callable[[list[Tensor], list[int], list[int]], list[Tensor]]) -> Callable[..., Account]:
    """The mean over terms that each anchor with a positive and a negative gives."""

    def oracle(rows: list[Anchor]) -> Account:
        terms = [t for row, p, n in rows if p and n for t in per_anchor(row, p, n)]
        return Account(mean(terms), len(terms), len(terms))

    return oracle


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
