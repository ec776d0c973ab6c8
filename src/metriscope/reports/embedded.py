"""Saved test embeddings of a study: one run of each group, with their nearest neighbours."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metriscope.errors import InputError
from metriscope.reports.comparison import Comparison
from metriscope.reports.confusions import Confusion, confusions
from metriscope.reports.projection import drawable
from metriscope.run.embeddings import Saved, read_embeddings
from metriscope.run.study import StudyRun

if TYPE_CHECKING:
    from torch import Tensor

NEIGHBOURS = 5
_GROUPS, _DATA_SETS = 8, 4
_QUERIES = 2000


@dataclass(frozen=True)
class Embedded:
    """The embedded test set of a run.

    Attributes:
        group: position of its group.
        run: the run.
        saved: what it saved.
        queries: positions of the samples whose neighbours were searched, an even choice.
        neighbours: (Q, K), positions among all samples, nearest first, never the query.
    """

    group: int
    run: StudyRun
    saved: Saved
    queries: NDArray[np.intp]
    neighbours: NDArray[np.int64]


def embedded_groups(comparison: Comparison) -> list[list[Embedded]]:
    """By test set, the first run of each group that saved readable and finite embeddings, some groups at most."""
    found: dict[tuple[Any, ...], list[Embedded]] = {}
    for place, group in enumerate(comparison.grouping.groups):
        # Files may be large: those of further groups are not even read.
        if sum(len(groups) for key, groups in found.items() if key[0] == group.block) >= _GROUPS:
            continue
        for run in group.runs:
            saved = _usable(run)
            if saved is None:
                continue
            key = (group.block, saved.labels.tobytes(), tuple(saved.classes))
            if key in found or len(found) < _DATA_SETS:
                found.setdefault(key, []).append(Embedded(place, run, saved, *_neighbours(saved)))
            break
    return list(found.values())


def evenly(count: int, most: int) -> NDArray[np.intp]:
    """At most so many positions of ``count``, in even steps."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.intp))


def confused(one: Embedded, most: int = 10) -> list[Confusion]:
    """Pairs of classes that are confused most."""
    nearest = np.full((len(one.saved.labels), 1), -1)
    nearest[one.queries] = one.neighbours[:, :1]
    return confusions(one.saved.labels, nearest, most)


def shared_queries(groups: Sequence[Embedded], each: int = 3) -> dict[str, list[int]]:
    """Rows of the neighbours to show for all groups alike: those with the fewest hits in all, and an even choice."""
    labels = groups[0].saved.labels
    true = labels[groups[0].queries]
    hits = np.sum([(labels[one.neighbours] == true[:, None]).mean(axis=1) for one in groups], axis=0)
    _, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    answerable = np.flatnonzero(sizes[inverse][groups[0].queries] > 1)  # others have nothing to find
    worst = answerable[np.argsort(hits[answerable], kind="stable")][:each].tolist()
    rest = np.array([row for row in answerable if row not in worst], dtype=np.intp)
    chosen = rest[evenly(len(rest) + 2, each + 2)[1:-1] - 1] if len(rest) > each else rest
    return {"fewest hits": worst, "others": chosen.tolist()}


def saved_of(run: StudyRun) -> Saved | None:
    """What a run saved; None for nothing, and, with a warning, for a file that cannot be read."""
    try:
        return None if run.folder is None else read_embeddings(run.folder)
    except InputError as error:
        run.warn_once(f"{error}; its embeddings are left out")
        return None


def _usable(run: StudyRun) -> Saved | None:
    saved = saved_of(run)
    if saved is None or len(saved.labels) < 2 or not drawable(saved.embeddings).all():
        return None
    return saved


def _neighbours(saved: Saved) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    import torch

    from metriscope.evaluation.search.neighbors import nearest

    queries = evenly(len(saved.labels), _QUERIES)
    gallery = torch.from_numpy(saved.embeddings.astype(np.float32))
    if saved.side is not None:
        return queries, _across(gallery, saved.side, queries)
    k = min(NEIGHBOURS, len(gallery) - 1)
    found = nearest(gallery[torch.from_numpy(queries)], gallery, k + 1).numpy()
    # A copy of the query may come before it, so that the query may be missing among the nearest.
    rows = [[place for place in row if place != query][:k] for row, query in zip(found, queries, strict=True)]
    return queries, np.array(rows, dtype=np.int64)


def _across(embeddings: "Tensor", side: NDArray[Any], queries: NDArray[np.intp]) -> NDArray[np.int64]:
    """The neighbours of some samples among those of the other side."""
    import torch

    from metriscope.evaluation.search.neighbors import nearest

    k = min(NEIGHBOURS, *(int((side == one).sum()) for one in (0, 1)))
    found = np.full((len(queries), k), -1, dtype=np.int64)
    for one in (0, 1):
        asking, kept = side[queries] == one, np.flatnonzero(side != one)
        rows = embeddings[torch.from_numpy(queries[asking])], embeddings[torch.from_numpy(kept)]
        found[asking] = kept[nearest(*rows, k).numpy()]
    return found
