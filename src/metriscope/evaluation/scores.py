"""What every query's ranking comes to, from the ranks of its matches."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metriscope.evaluation.measures import Measures


class QueryScores(NamedTuple):
    """The scores of Q queries, in float64 or int64 tensors (Q,); all zero where ``relevant`` is zero."""

    labels: Tensor
    relevant: Tensor
    """R, the number of gallery items of the query's class, not counting itself."""
    first_hit: Tensor
    """Rank (from 1) of the nearest of these items; 0 where the search did not reach it."""
    hits: Tensor
    """(Q, len(hits_at)): how many of these items are among the K nearest, for each K of ``hits_at``."""
    hits_at: tuple[int, ...]
    r_precision: Tensor
    average_precision: Tensor
    """Over the R nearest."""
    average_precision_at: Tensor
    """(Q, len(cut_at)): over the K nearest, divided by min(R, K), for each K of ``cut_at``."""
    cut_at: tuple[int, ...]
    whole_average_precision: Tensor
    """Over the whole ranking."""
    cmc: Tensor
    """(Q, len(cmc_at)): share of these items with fewer than K items of other classes before them, by K of
    ``cmc_at``."""
    cmc_at: tuple[int, ...]


def no_scores(labels: Tensor, relevant: Tensor, measures: Measures) -> QueryScores:
    """Zeros to be filled by :func:`score_hits` and :func:`score_ranks`, for queries with these labels and R."""

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(len(relevant), *shape, dtype=torch.float64, device=relevant.device)

    hits_at, cut_at, cmc_at = (tuple(at) for at in (measures.precision_at, measures.map_at, measures.cmc_at))
    return QueryScores(
        labels,
        relevant,
        torch.zeros_like(relevant),
        relevant.new_zeros(len(relevant), len(hits_at)),
        hits_at,
        zeros(),
        zeros(),
        zeros(len(cut_at)),
        cut_at,
        zeros(),
        zeros(len(cmc_at)),
        cmc_at,
    )


def united(parts: Sequence[tuple[Tensor, QueryScores]]) -> QueryScores:
    """The scores of a set whose queries were scored in parts.

    Args:
        parts: each with a mask (N,) of its queries, of which every sample of the set is in one.
    """

    def whole(*columns: Tensor) -> Tensor:
        found = columns[0].new_zeros(len(parts[0][0]), *columns[0].shape[1:])
        for (own, _), column in zip(parts, columns, strict=True):
            found[own] = column
        return found

    return _by_column(whole, *(part for _, part in parts))


def of_queries(scores: QueryScores, these: Tensor) -> QueryScores:
    """The scores of some queries, given by a mask (Q,)."""
    return _by_column(lambda column: column[these], scores)


def _by_column(make: Callable[..., Tensor], first: QueryScores, *others: QueryScores) -> QueryScores:
    """Scores whose tensors are made of those of others."""
    tensors = (name for name, column in first._asdict().items() if isinstance(column, Tensor))
    made: dict[str, Any] = {name: make(*(getattr(one, name) for one in (first, *others))) for name in tensors}
    return first._replace(**made)


def score_hits(scores: QueryScores, measures: Measures, rows: Tensor, hit: Tensor) -> None:
    """Fills the scores of the queries ``rows`` (b,) from (b, w), whether each of the w nearest is a match."""
    if hit.device.type == "cpu":  # numpy finds them many times faster
        places = torch.from_numpy(np.flatnonzero(hit.numpy()))
    else:
        places = hit.flatten().nonzero().squeeze(1)
    line = places // max(hit.shape[1], 1)
    _fill(scores, measures, rows, line, places - line * hit.shape[1] + 1)


def score_ranks(scores: QueryScores, measures: Measures, rows: Tensor, ranks: Tensor) -> None:
    """Fills the scores of the queries ``rows`` (b,) from the ranks (b, m) of all matches, ascending, 0 for none."""
    line, place = (ranks > 0).nonzero(as_tuple=True)
    _fill(scores, measures, rows, line, ranks[line, place])


def _fill(scores: QueryScores, measures: Measures, rows: Tensor, line: Tensor, ranks: Tensor) -> None:
    """Fills scores from ranks (h,) of matches, ascending within a query, and the position (h,) of it in ``rows``."""
    counts = torch.bincount(line, minlength=len(rows))
    starts = counts.cumsum(0) - counts
    order = torch.arange(1, len(line) + 1, device=line.device) - starts[line]
    found = (counts > 0).nonzero().squeeze(1)
    scores.first_hit[rows[found]] = ranks[starts[found]]
    relevant = scores.relevant[rows]

    def sums(values: Tensor) -> Tensor:
        return torch.zeros(len(rows), dtype=torch.float64, device=rows.device).index_add_(0, line, values.double())

    for column, k in enumerate(scores.hits_at):
        scores.hits[rows, column] = sums(ranks <= k).long()
    if measures.map_at_r or scores.cut_at or measures.mean_average_precision:
        precision = order.double() / ranks
        total = relevant.clamp(min=1)
        if measures.map_at_r:
            within = ranks <= relevant[line]
            scores.r_precision[rows] = sums(within) / total
            scores.average_precision[rows] = sums(precision * within) / total
        for column, k in enumerate(scores.cut_at):
            scores.average_precision_at[rows, column] = sums(precision * (ranks <= k)) / total.clamp(max=k)
        if measures.mean_average_precision:
            scores.whole_average_precision[rows] = sums(precision) / total
    for column, k in enumerate(scores.cmc_at):
        scores.cmc[rows, column] = sums(ranks - order < k) / relevant.clamp(min=1)
