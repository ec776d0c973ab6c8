"""Leave-one-out retrieval: Recall@K, precision@1, R-precision and MAP@R (arXiv:2003.08505)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from metriscope.errors import InputError, RunError
from metriscope.evaluation.neighbors import visit_nearest


class QueryScores(NamedTuple):
    """What each of N queries found, in float64 or int64 tensors (N,); all zero where ``relevant`` is.

    ``relevant`` is R, the number of other members of the query's class; ``first_hit`` the rank (from 1) of
    the nearest of them, 0 where it lies beyond the depth searched.
    """

    relevant: Tensor
    first_hit: Tensor
    r_precision: Tensor
    average_precision: Tensor


def query_scores(
    embeddings: Tensor, labels: Tensor, *, depth: int, to_r: bool = True, memory_mb: float = 256
) -> QueryScores:
    """Score each embedding (N, D) with labels (N,) as a query against all others.

    Args:
        depth: look at this many neighbours for the first hit.
        to_r: also look at R neighbours for R-precision and average precision; they stay 0 without.
        memory_mb: working memory of the search in MiB.
    """
    classes, members = torch.unique(labels, return_inverse=True, return_counts=True)[1:]
    relevant = members[classes] - 1
    first_hit = torch.zeros_like(relevant)
    r_precision = torch.zeros_like(relevant, dtype=torch.float64)
    average_precision = torch.zeros_like(r_precision)
    depths = relevant.clamp(min=depth) if to_r else torch.full_like(relevant, depth)
    depths[relevant == 0] = 0
    ranks = torch.arange(1, max(len(labels), 2), device=labels.device)
    never = len(labels)

    def score(rows: Tensor, indices: Tensor) -> None:
        width = indices.shape[1]
        if width == 0:
            return
        hit = classes[indices] == classes[rows, None]
        first = torch.where(hit[:, :depth], ranks[: min(depth, width)], never).amin(1)
        first_hit[rows] = first.where(first < never, 0)
        if to_r:
            total = relevant[rows, None]
            hit &= ranks[:width] <= total
            precision = hit.cumsum(1, dtype=torch.float64) / ranks[:width]
            total = total.squeeze(1).clamp(min=1)
            r_precision[rows] = hit.sum(1).double() / total
            average_precision[rows] = (precision * hit).sum(1) / total

    visit_nearest(embeddings, embeddings, depths, score, exclude_self=True, memory_mb=memory_mb)
    return QueryScores(relevant, first_hit, r_precision, average_precision)


def retrieval_metrics(
    embeddings: Tensor,
    labels: Tensor,
    recall_at: Sequence[int] = (1, 2, 4, 8),
    map_at_r: bool = True,
    memory_mb: float = 256,
) -> dict[str, float]:
    """Retrieval among all samples, each once the query, by Euclidean distance (ties: the earlier sample).

    Args:
        embeddings: (N, D); normalised ones are ranked as by cosine similarity.
        labels: (N,) integers.
        recall_at: the K of Recall@K, the share of queries with a hit among the K nearest.
        map_at_r: also R-precision and MAP@R = mean over queries of (1/R) sum_{i <= R} P(i) rel(i)
            (arXiv:2003.08505), which look at R neighbours of each query.
        memory_mb: working memory of the search in MiB.

    Returns:
        ``recall_at_K`` for each K, ``precision_at_1``, ``r_precision`` and ``map_at_r``, means over the
        queries whose class has another member (0 where there is none), and ``queries_skipped``, the number of
        the others.

    Raises:
        RunError: embeddings that are not finite.
    """
    _check_recall_at(recall_at)
    bad = int((~embeddings.isfinite()).any(1).sum())
    if bad:
        raise RunError(f"{bad} of {len(embeddings)} embeddings hold NaN or Inf, so they cannot be ranked")
    scores = query_scores(embeddings, labels, depth=max(recall_at, default=1), to_r=map_at_r, memory_mb=memory_mb)
    counted = scores.relevant > 0
    queries = max(int(counted.sum()), 1)

    def share(values: Tensor) -> float:
        return float(values[counted].sum()) / queries

    rank = scores.first_hit
    metrics = {f"recall_at_{k}": share((rank > 0) & (rank <= k)) for k in recall_at}
    metrics["precision_at_1"] = share(rank == 1)
    if map_at_r:
        metrics["r_precision"] = share(scores.r_precision)
        metrics["map_at_r"] = share(scores.average_precision)
    metrics["queries_skipped"] = float((~counted).sum())
    return metrics


class RetrievalMetrics(Metric):
    """:func:`retrieval_metrics` of everything it was fed, the same for one process and for several.

    Samples are sorted by their index, and one that came twice (a padded distributed sampler) counts once.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False

    def __init__(
        self,
        recall_at: Sequence[int] = (1, 2, 4, 8),
        map_at_r: bool = True,
        memory_mb: float = 256,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_recall_at(recall_at)
        self.recall_at = tuple(recall_at)
        self.map_at_r = map_at_r
        self.memory_mb = memory_mb
        self.flat: list[Tensor] | Tensor  # embeddings as one row: a rank without samples need not know D
        self.labels: list[Tensor] | Tensor
        self.index: list[Tensor] | Tensor
        for name in ("flat", "labels", "index"):
            self.add_state(name, default=[], dist_reduce_fx="cat")
        self._gathered: tuple[Tensor, Tensor, Tensor] | None = None
        self._begin()

    def _begin(self) -> None:
        # A rank that was fed nothing still takes part in the gather, with tensors of the right types.
        nothing = torch.empty(0, dtype=torch.int64, device=self.device)
        self.flat, self.labels, self.index = [nothing.float()], [nothing], [nothing]

    def reset(self) -> None:
        """Forget all samples."""
        super().reset()
        self._gathered = None
        self._begin()

    def update(self, embeddings: Tensor, labels: Tensor, index: Tensor) -> None:
        """Add a batch: embeddings (B, D), labels (B,) and index (B,), the positions in the split."""
        if embeddings.ndim != 2 or labels.shape != index.shape or len(labels) != len(embeddings):
            shapes = ", ".join(str(tuple(x.shape)) for x in (embeddings, labels, index))
            raise ValueError(f"expected embeddings (B, D), labels (B,) and index (B,), got {shapes}")
        for state, value in ((self.flat, embeddings.float()), (self.labels, labels), (self.index, index)):
            assert isinstance(state, list)
            state.append(value.detach().to(self.device).flatten())

    def compute(self) -> dict[str, float]:
        """The metrics of :func:`retrieval_metrics` over the samples of all processes."""
        index, labels, flat = (dim_zero_cat(state) for state in (self.index, self.labels, self.flat))
        if len(index) == 0:
            raise RunError("the evaluation set gave no embeddings, so there is nothing to retrieve")
        index, order = index.sort(stable=True)
        first = torch.ones_like(index, dtype=torch.bool)
        first[1:] = index[1:] != index[:-1]
        order = order[first]
        self._gathered = flat.view(len(labels), -1)[order], labels[order], index[first]
        return retrieval_metrics(*self._gathered[:2], self.recall_at, self.map_at_r, self.memory_mb)

    def embeddings(self) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings (N, D), labels (N,), index (N,) of all processes, sorted by index, as last computed."""
        if self._gathered is None:
            self.compute()
        assert self._gathered is not None
        return self._gathered


def _check_recall_at(recall_at: Sequence[int]) -> None:
    if any(k < 1 for k in recall_at):
        raise InputError(f"evaluation.recall_at must hold numbers of at least 1, got {list(recall_at)}")
