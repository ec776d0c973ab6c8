"""Retrieval: Recall@K, precision@K, MRR, R-precision, MAP@R (arXiv:2003.08505), MAP@K, MAP and CMC@K.

They are computed by leave-one-out among all samples, for queries in a separate gallery, or across two modalities;
distractors, which match nothing, may lie in the gallery of every query.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from metriscope.errors import RunError
from metriscope.evaluation.collector import SetCollector
from metriscope.evaluation.measures import Measures
from metriscope.evaluation.scores import QueryScores, no_scores, score_hits, score_ranks, united
from metriscope.evaluation.search.first_match import first_match_ranks
from metriscope.evaluation.search.match_ranks import visit_match_ranks
from metriscope.evaluation.search.neighbors import visit_nearest


def query_scores(
    embeddings: Tensor,
    labels: Tensor,
    measures: Measures,
    *,
    queries: Tensor | None = None,
    distractors: Tensor | None = None,
    memory_mb: float = 256,
    side: Tensor | None = None,
) -> QueryScores:
    """Score embeddings (N, D) with labels (N,) as queries; arguments as of :func:`retrieval_metrics`.

    Across two sides all N are queries, and two searches are made.
    """
    if side is not None:
        score_side = partial(query_scores, embeddings, labels, measures, distractors=distractors, memory_mb=memory_mb)
        return united([(own, score_side(queries=own)) for own in (side == 0, side == 1)])
    classes = torch.unique(labels, return_inverse=True)[1]
    alone = queries is None
    asking = asked = torch.ones_like(labels, dtype=torch.bool)
    if queries is not None:
        asking, asked = queries, ~queries
    own, kept = classes[asking], classes[asked]
    left = embeddings if alone else embeddings[asking]
    right = embeddings if alone else embeddings[asked]
    relevant = torch.bincount(kept, minlength=len(labels))[own] - int(alone)
    if distractors is not None and len(distractors):
        right = torch.cat([right, distractors.to(right)])
        kept = torch.cat([kept, kept.new_full((len(distractors),), -1)])
    scores = no_scores(labels[asking], relevant, measures)
    sides = (left, own), (right, kept)
    if measures.mean_average_precision:
        score = partial(score_ranks, scores, measures)
        visit_match_ranks(*sides, score, exclude_self=alone, memory_mb=memory_mb)
        return scores

    def score_nearest(rows: Tensor, indices: Tensor) -> None:
        score_hits(scores, measures, rows, kept.take(indices) == own[rows, None])

    depths = _depths(relevant, measures)
    visit_nearest(left, right, depths, score_nearest, exclude_self=alone, memory_mb=memory_mb)
    missing = ((relevant > 0) & (scores.first_hit == 0)).nonzero().squeeze(1)
    if measures.mrr and len(missing):
        scores.first_hit[missing] = first_match_ranks(*sides, missing, exclude_self=alone, memory_mb=memory_mb)
    return scores


def _depths(relevant: Tensor, measures: Measures) -> Tensor:
    """How many neighbours (Q,) each query needs, of its R."""
    depths = torch.full_like(relevant, measures.depth)
    if measures.map_at_r:
        depths = torch.maximum(depths, relevant)
    if measures.cmc_at:
        depths = torch.maximum(depths, relevant + (max(measures.cmc_at) - 1))
    depths[relevant == 0] = 0
    return depths


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


def map_at(scores: QueryScores, k: int) -> float:
    """MAP@K: the mean average precision over the K nearest, divided by min(R, K), for a K of ``cut_at``."""
    return mean(scores, scores.average_precision_at[:, scores.cut_at.index(k)])


def cmc_at(scores: QueryScores, k: int) -> float:
    """CMC@K: how likely a match that is the only one in the gallery is among the K nearest, for a K of ``cmc_at``."""
    return mean(scores, scores.cmc[:, scores.cmc_at.index(k)])


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
    metrics |= {f"map_at_{k}": map_at(scores, k) for k in measures.map_at}
    if measures.mean_average_precision:
        metrics["mean_average_precision"] = mean(scores, scores.whole_average_precision)
    metrics |= {f"cmc_at_{k}": cmc_at(scores, k) for k in measures.cmc_at}
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
    map_at: Sequence[int] = (),
    mean_average_precision: bool = False,
    cmc_at: Sequence[int] = (),
    queries: Tensor | None = None,
    distractors: Tensor | None = None,
    side: Tensor | None = None,
) -> dict[str, float]:
    """Retrieval by Euclidean distance, ties to the earlier sample: each sample among all others, or in a gallery.

    Of two modalities, each sample is a query among all samples of the other side; a match is one of its class, its own
    partner included. Means are over the queries of both directions, which are as many, and so are the mean of both.

    >>> audio = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    >>> visual = torch.tensor([[0.6, 0.8], [0.96, -0.28], [0.28, 0.96], [-0.96, 0.28]])
    >>> labels, side = torch.tensor([0, 0, 1, 1] * 2), torch.tensor([0] * 4 + [1] * 4)
    >>> found = retrieval_metrics(torch.cat([audio, visual]), labels, mean_average_precision=True, side=side)
    >>> round(found["mean_average_precision"], 7)
    0.9166667

    Args:
        embeddings: (N, D); normalised ones are ranked as by cosine similarity.
        labels: (N,) integers.
        recall_at, map_at_r, precision_at, mrr, map_at, mean_average_precision, cmc_at: see :class:`Measures`.
        memory_mb: working memory of the search in MiB.
        queries: bool (N,), True for a query and False for an item of the gallery; None for leave-one-out.
        distractors: (M, D), further items of the gallery of every query, which match none.
        side: (N,) the modality of each sample, 0 or 1; None where there is one.

    Returns:
        ``recall_at_K``, ``precision_at_K``, ``mrr``, ``r_precision``, ``map_at_r``, ``map_at_K``,
        ``mean_average_precision`` and ``cmc_at_K``, as far as they are asked for, means over the queries whose
        class has another member, or a member in the gallery (absent if there are no such queries), and
        ``queries_skipped``, the number of other queries.

    Raises:
        RunError: embeddings that are not finite, no query or no gallery among them, or samples of one side alone.
    """
    measures = Measures(
        tuple(recall_at), tuple(precision_at), map_at_r, mrr, tuple(map_at), mean_average_precision, tuple(cmc_at)
    )
    return means(checked_scores(embeddings, labels, measures, queries, memory_mb, distractors, side), measures)


def check_finite(embeddings: Tensor, name: str = "embeddings") -> None:
    """Raises RunError where embeddings (N, D), which it calls ``name``, hold NaN or Inf."""
    bad = int((~embeddings.isfinite()).any(1).sum())
    if bad:
        raise RunError(f"{bad} of {len(embeddings)} {name} hold NaN or Inf, so they cannot be ranked")


def checked_scores(
    embeddings: Tensor,
    labels: Tensor,
    measures: Measures,
    queries: Tensor | None,
    memory_mb: float,
    distractors: Tensor | None = None,
    side: Tensor | None = None,
) -> QueryScores:
    """:func:`query_scores` of checked input; errors as of :func:`retrieval_metrics`."""
    measures.check()
    check_finite(embeddings)
    if distractors is not None:
        check_finite(distractors, "embeddings of distractors")
    if queries is not None:
        asking = int(queries.sum())
        if not 0 < asking < len(queries):
            raise RunError(
                f"{asking} of {len(queries)} test examples are queries: there has to be a query and a gallery"
            )
    if side is not None and not 0 < int((side == 0).sum()) < len(side):
        raise RunError(f"{len(side)} test examples are all of one side: retrieval across sides needs both")
    return query_scores(
        embeddings, labels, measures, queries=queries, distractors=distractors, memory_mb=memory_mb, side=side
    )


class RetrievalMetrics(SetCollector):
    """:func:`retrieval_metrics` of all samples in its updates, the same for one process and for several.

    Samples are sorted by their index, and a sample that occurs twice (from a padded distributed sampler) counts once.
    ``queries`` is indexed by sample; ``distractors`` are the same on every process. After ``compute``, ``scores`` holds
    the scores of each query.
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
        map_at: Sequence[int] = (),
        mean_average_precision: bool = False,
        cmc_at: Sequence[int] = (),
        queries: Tensor | None = None,
        distractors: Tensor | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.measures = Measures(
            tuple(recall_at), tuple(precision_at), map_at_r, mrr, tuple(map_at), mean_average_precision, tuple(cmc_at)
        )
        self.measures.check()
        self.memory_mb = memory_mb
        self.queries, self.distractors = queries, distractors
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
        self.scores = checked_scores(embeddings, labels, self.measures, queries, self.memory_mb, self.distractors)
        return means(self.scores, self.measures)

    def embeddings(self) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (N, D), labels (N,), index (N,) of all processes, sorted by index, as last computed."""
        if self._gathered is None:
            self.compute()
        assert self._gathered is not None
        return self._gathered
