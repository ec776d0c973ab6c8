"""Retrieval: Recall@K, precision@K, MRR, R-precision and MAP@R (arXiv:2003.08505).

They are computed by leave-one-out among all samples, or for queries in a separate gallery.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metriscope.errors import RunError
from metriscope.evaluation.collector import SetCollector
from metriscope.evaluation.measures import Measures
from metriscope.evaluation.search.first_match import first_match_ranks
from metriscope.evaluation.search.neighbors import visit_nearest


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


def query_scores(
    embeddings: Tensor,
    labels: Tensor,
    measures: Measures,
    *,
    queries: Tensor | None = None,
    memory_mb: float = 256,
) -> QueryScores:
    """Score embeddings (N, D) with labels (N,) as queries; arguments as of :func:`retrieval_metrics`."""
    classes = torch.unique(labels, return_inverse=True)[1]
    alone = queries is None
    asking = asked = torch.ones_like(labels, dtype=torch.bool)
    if queries is not None:
        asking, asked = queries, ~queries
    own, kept = classes[asking], classes[asked]
    left = embeddings if alone else embeddings[asking]
    right = embeddings if alone else embeddings[asked]
    members = torch.bincount(kept, minlength=len(labels))
    relevant = members[own] - int(alone)
    first_hit = torch.zeros_like(relevant)
    hits = relevant.new_zeros(len(relevant), len(measures.precision_at))
    r_precision = torch.zeros_like(relevant, dtype=torch.float64)
    average_precision = torch.zeros_like(r_precision)
    depth = measures.depth
    depths = relevant.clamp(min=depth) if measures.map_at_r else torch.full_like(relevant, depth)
    depths[relevant == 0] = 0
    ranks = torch.arange(1, len(kept) + 2, device=labels.device)

    def score(rows: Tensor, indices: Tensor) -> None:
        width = indices.shape[1]
        if width == 0:
            return
        hit = kept[indices] == own[rows, None]
        first = hit.byte().argmax(1, keepdim=True)
        first_hit[rows] = torch.where(hit.gather(1, first), first + 1, 0).squeeze(1)
        for place, k in enumerate(measures.precision_at):
            hits[rows, place] = hit[:, :k].sum(1)
        if measures.map_at_r:
            total = relevant[rows, None]
            hit &= ranks[:width] <= total
            precision = hit.cumsum(1, dtype=torch.float64).div_(ranks[:width])
            total = total.squeeze(1).clamp(min=1)
            r_precision[rows] = hit.sum(1).double() / total
            average_precision[rows] = precision.mul_(hit).sum(1) / total

    visit_nearest(left, right, depths, score, exclude_self=alone, memory_mb=memory_mb)
    missing = ((relevant > 0) & (first_hit == 0)).nonzero().squeeze(1)
    if measures.mrr and len(missing):
        sides = (left, own), (right, kept)
        first_hit[missing] = first_match_ranks(*sides, missing, exclude_self=alone, memory_mb=memory_mb)
    hits_at = tuple(measures.precision_at)
    return QueryScores(labels[asking], relevant, first_hit, hits, hits_at, r_precision, average_precision)


def mean(scores: QueryScores, values: Tensor) -> float:
    """The mean of values (Q,) over the queries that have something to find; NaN where there are none."""
    counted = scores.relevant > 0
    return float(values[counted].double().sum()) / int(counted.sum()) if counted.any() else math.nan


def recall_at(scores: QueryScores, k: int) -> float:
    """Recall@K: the share of queries with a hit among the K nearest."""
    return mean(scores, (scores.first_hit > 0) & (scores.first_hit <= k))


def precision_at(scores: QueryScores, k: int) -> float:
    """Precision@K: the mean share of hits among the K nearest, for a K of ``hits_at``."""
    return mean(scores, scores.hits[:, scores.hits_at.index(k)]) / k


def reciprocal_rank(scores: QueryScores) -> float:
    """MRR: the mean of 1 / rank of the first hit."""
    return mean(scores, 1 / scores.first_hit.clamp(min=1).double())


def skipped(scores: QueryScores) -> float:
    """How many queries have nothing to find."""
    return float((scores.relevant == 0).sum())


def means(scores: QueryScores, measures: Measures) -> dict[str, float]:
    """The metrics of :func:`retrieval_metrics` from its scores."""
    metrics = {f"recall_at_{k}": recall_at(scores, k) for k in measures.recall_at}
    metrics |= {f"precision_at_{k}": precision_at(scores, k) for k in measures.precision_at}
    if measures.mrr:
        metrics["mrr"] = reciprocal_rank(scores)
    if measures.map_at_r:
        metrics["r_precision"] = mean(scores, scores.r_precision)
        metrics["map_at_r"] = mean(scores, scores.average_precision)
    metrics = {key: value for key, value in metrics.items() if not math.isnan(value)}
    return {**metrics, "queries_skipped": skipped(scores)}


def retrieval_metrics(
    embeddings: Tensor,
    labels: Tensor,
    recall_at: Sequence[int] = (1, 2, 4, 8),
    map_at_r: bool = True,
    memory_mb: float = 256,
    *,
    precision_at: Sequence[int] = (1,),
    mrr: bool = True,
    queries: Tensor | None = None,
) -> dict[str, float]:
    """Retrieval by Euclidean distance, ties to the earlier sample: each sample among all others, or in a gallery.

    Args:
        embeddings: (N, D); normalised ones are ranked as by cosine similarity.
        labels: (N,) integers.
        recall_at, map_at_r, precision_at, mrr: see :class:`Measures`.
        memory_mb: working memory of the search in MiB.
        queries: bool (N,), True for a query and False for an item of the gallery; None for leave-one-out.

    Returns:
        ``recall_at_K``, ``precision_at_K``, ``mrr``, ``r_precision`` and ``map_at_r``, means over the queries whose
        class has another member, or a member in the gallery (absent if there are no such queries), and
        ``queries_skipped``, the number of other queries.

    Raises:
        RunError: embeddings that are not finite, or no query or no gallery among them.
    """
    measures = Measures(tuple(recall_at), tuple(precision_at), map_at_r, mrr)
    return means(checked_scores(embeddings, labels, measures, queries, memory_mb), measures)


def check_finite(embeddings: Tensor) -> None:
    """Raises RunError where embeddings (N, D) hold NaN or Inf."""
    bad = int((~embeddings.isfinite()).any(1).sum())
    if bad:
        raise RunError(f"{bad} of {len(embeddings)} embeddings hold NaN or Inf, so they cannot be ranked")


def checked_scores(
    embeddings: Tensor, labels: Tensor, measures: Measures, queries: Tensor | None, memory_mb: float
) -> QueryScores:
    """:func:`query_scores` of checked input; errors as of :func:`retrieval_metrics`."""
    measures.check()
    check_finite(embeddings)
    if queries is not None:
        asking = int(queries.sum())
        if not 0 < asking < len(queries):
            raise RunError(
                f"{asking} of {len(queries)} test examples are queries: there has to be a query and a gallery"
            )
    return query_scores(embeddings, labels, measures, queries=queries, memory_mb=memory_mb)


class RetrievalMetrics(SetCollector):
    """:func:`retrieval_metrics` of all samples in its updates, the same for one process and for several.

    Samples are sorted by their index, and a sample that occurs twice (from a padded distributed sampler) counts once.
    ``queries`` is indexed by sample. After ``compute``, ``scores`` holds the scores of each query.
    """

    higher_is_better = True

    def __init__(
        self,
        recall_at: Sequence[int] = (1, 2, 4, 8),
        map_at_r: bool = True,
        memory_mb: float = 256,
        *,
        precision_at: Sequence[int] = (1,),
        mrr: bool = True,
        queries: Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.measures = Measures(tuple(recall_at), tuple(precision_at), map_at_r, mrr)
        self.measures.check()
        self.memory_mb = memory_mb
        self.queries = queries
        self.scores: QueryScores | None = None
        self._gathered: tuple[Tensor, Tensor, Tensor] | None = None

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self._gathered = self.scores = None

    def compute(self) -> dict[str, float]:
        """The metrics of :func:`retrieval_metrics` over the samples of all processes."""
        self._gathered = embeddings, labels, index = self.gathered()
        queries = None if self.queries is None else self.queries.to(index.device)[index]
        self.scores = checked_scores(embeddings, labels, self.measures, queries, self.memory_mb)
        return means(self.scores, self.measures)

    def embeddings(self) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (N, D), labels (N,), index (N,) of all processes, sorted by index, as last computed."""
        if self._gathered is None:
            self.compute()
        assert self._gathered is not None
        return self._gathered
