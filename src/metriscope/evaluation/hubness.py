"""Hubness: how unevenly the items of a gallery occur among nearest neighbours.

After Radovanovic, Nanopoulos, Ivanovic, "Hubs in Space", JMLR 11 (2010), 2487-2531: N_k(x) is the number of queries
that have x among their k nearest neighbours; the skewness of N_k says how far a few hubs take the places of all others.
The paper was not read for this; the definitions are as remembered.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.evaluation.rankings import rankings
from metriscope.evaluation.search.neighbors import nearest


class Hubness(NamedTuple):
    """Of the counts N_k of a gallery."""

    skewness: float
    """E[(N_k - mean)^3] / (standard deviation)^3, over the items; 0 where all occur equally often."""
    antihubs: float
    """Share of items that occur nowhere, N_k = 0."""


def k_occurrences(
    embeddings: Tensor,
    k: int,
    *,
    queries: Tensor | None = None,
    distractors: Tensor | None = None,
    memory_mb: float = 256,
    side: Tensor | None = None,
) -> Tensor:
    """N_k (M,) of the M items of the gallery, int64; they sum to Q min(k, neighbours at hand).

    Across two sides, of the items of both galleries, one after the other.

    Time as of a search for k neighbours; memory O(Q k).

    Args:
        embeddings: (N, D).
        k: how many neighbours.
        queries: bool (N,), True for a query and False for an item of the gallery; None for leave-one-out.
        distractors: (M, D) further items of the gallery.
        memory_mb: working memory of the search in MiB.
        side: (N,) the modality of each sample, 0 or 1; None where there is one.
    """
    counts = []
    for asking, kept, alone in rankings(len(embeddings), queries, side):
        gallery = embeddings[kept] if distractors is None else torch.cat([embeddings[kept], distractors])
        found = nearest(embeddings[asking], gallery, k, exclude_self=alone, memory_mb=memory_mb)
        counts.append(torch.bincount(found.flatten(), minlength=len(gallery)))
    return torch.cat(counts)


def hubness(occurrences: Tensor) -> Hubness:
    """The figures of counts (M,); NaN without any."""
    if len(occurrences) == 0:
        return Hubness(math.nan, math.nan)
    moved = occurrences.double() - occurrences.double().mean()
    variance = float(moved.square().mean())
    skewness = float(moved.pow(3).mean()) / variance**1.5 if variance else 0.0
    return Hubness(skewness, float((occurrences == 0).double().mean()))
