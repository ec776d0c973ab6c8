"""Tables of one run's test set: its classes, a gallery of queries with their neighbours, and the hardest queries."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.evaluation.per_class import ClassResult, per_class
from metriscope.evaluation.rankings import rankings
from metriscope.evaluation.scores import QueryScores
from metriscope.evaluation.search.neighbors import nearest
from metriscope.reports.gallery import Images
from metriscope.tracking.base import LoggedTable, Picture

_HARDEST = 32


def class_table(scores: QueryScores, classes: Sequence[str]) -> LoggedTable:
    """The rows of ``per_class.csv``, in the order of ``classes``."""
    return LoggedTable(["class", *ClassResult._fields[1:]], [list(one) for one in per_class(scores, classes)])


def gallery_table(
    images: Images | None,
    labels: NDArray[Any],
    neighbors: NDArray[Any],
    queries: Mapping[str, Sequence[int]],
    classes: Sequence[str],
) -> LoggedTable:
    """The rows of the retrieval gallery; arguments as of its figure, ``images`` None where the data are no images."""

    def shown(place: int, query: int) -> Any:
        if place < 0:
            return None
        mark = "" if place == query else "✓ " if labels[place] == labels[query] else "✗ "
        return _cell(images, place, f"{mark}{classes[labels[place]]}")

    rows = [
        [group, query, shown(query, query), *(shown(place, query) for place in neighbors[query].tolist())]
        for group, members in queries.items()
        for query in members
    ]
    return LoggedTable(["queries", "position", "query", *map(str, range(1, neighbors.shape[1] + 1))], rows)


def hardest_table(
    images: Images | None, tested: EvaluatedSet, queries: Tensor | None, classes: Sequence[str]
) -> LoggedTable:
    """The queries with the lowest average precision, each with what lies nearest to it.

    Args:
        images: of the test set by position; None where the data are no images.
        tested: on the CPU.
        queries: bool (N,), which of the test set are queries of a gallery; None for leave-one-out.
        classes: names by class id.
    """
    scores, labels = tested.ranked(), tested.labels
    every = rankings(len(labels), queries, tested.side)
    positions = torch.cat([one.asking for one in every]).sort().values
    ranks = np.where(scores.first_hit.numpy() > 0, scores.first_hit.numpy(), np.iinfo(np.int64).max)
    order = np.lexsort((-ranks, scores.average_precision.numpy()))
    hard = [int(row) for row in order if scores.relevant[row] > 0][:_HARDEST]
    near: dict[int, list[int]] = {}
    for asking, kept, alone in every:
        own = positions[hard][torch.isin(positions[hard], asking)]
        # A query is among its own neighbours where it is in the gallery itself.
        found = kept[nearest(tested.embeddings[own], tested.embeddings[kept], 2 if alone else 1)]
        near |= dict(zip(own.tolist(), found.tolist(), strict=True))
    rows = []
    for row in hard:
        place = int(positions[row])
        other = next((one for one in near[place] if one != place), None)
        rank = int(scores.first_hit[row])
        rows.append(
            [
                place,
                _cell(images, place, classes[int(labels[place])]),
                None if other is None else _cell(images, other, classes[int(labels[other])]),
                float(scores.average_precision[row]),
                rank or None,
                int(scores.relevant[row]),
            ]
        )
    return LoggedTable(["position", "query", "nearest", "average_precision", "first_hit", "relevant"], rows)


def _cell(images: Images | None, place: int, words: str) -> Any:
    if images is None:
        return words
    pixels = np.moveaxis(np.asarray(images[place], dtype=np.uint8), 0, -1)
    return Picture(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, words)
