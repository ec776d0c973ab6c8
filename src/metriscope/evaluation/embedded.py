"""The embeddings of a whole evaluation set."""

from typing import NamedTuple

from torch import Tensor

from metriscope.evaluation.retrieval import QueryScores


class EvaluatedSet(NamedTuple):
    """The embeddings of a whole evaluation set, the same on every process."""

    embeddings: Tensor
    """(N, D) float32."""
    labels: Tensor
    """(N,) int64."""
    scores: QueryScores | None = None
    """The retrieval scores of its queries."""
