"""The highest Recall@1 that identical images leave possible.

An embedding that is a function of the image alone puts identical images on one point. A search ranks equal distances by
position (:mod:`metriscope.evaluation.search.ranking`) and never finds the query itself. So the labels and positions of
identical images decide some queries before anything is trained:

- a query with identical images in the gallery finds the first of them, at distance zero, and is a hit only if that one
  has its label;
- any other query finds an image that is the first of its identical images in the gallery (the others are at the same
  distance, and later), so it can be a hit only if some first image has its label;
- identical queries without such a copy all find the same image, so only those of one label can be hits.

This is also reached: with the points of each label's first images, and of the queries that are to find them, close
together and far from those of other labels, with all distances different, every query that is not excluded here is a
hit. ``hits`` is therefore the exact maximum over embeddings that put different images on different points. (Where the
last bits of an embedding depend on the batch that it is computed in, copies are the nearest all the same, and chance
decides which of three or more.)

An embedding that puts different images on exactly one point can do better by chance of positions: an earlier image of
the right label, moved onto two identical images with different labels, is found by both. But all queries on one point
find the same image, the first one there, and only that one finds the second. So all hits of a point have one label, and
never more than the most frequent label of each group of identical images are hits: ``collapsed`` is a bound for every
deterministic embedding, and not always reached.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Ceiling(NamedTuple):
    """How many queries can be hits at rank 1."""

    queries: int
    """Queries that count: those whose label another image, or one of the gallery, has."""
    hits: int
    """The most that can be hits where different images lie on different points."""
    collapsed: int
    """A bound where different images may lie on one point."""

    @property
    def recall(self) -> float:
        """The ceiling on Recall@1; NaN without queries."""
        return self.hits / self.queries if self.queries else float("nan")


def ceiling(labels: Tensor, images: Tensor, queries: Tensor | None = None) -> Ceiling:
    """The ceiling on Recall@1 of N examples, in the order in which they are ranked.

    Args:
        labels: (N,) integers.
        images: (N,) integers, equal for identical images.
        queries: bool (N,), True for a query and False for the gallery; None for leave-one-out.
    """
    labels, images = (torch.unique(values, return_inverse=True)[1] for values in (labels, images))
    everyone = torch.ones_like(labels, dtype=torch.bool)
    asking, asked = (everyone, everyone) if queries is None else (queries, ~queries)
    members = torch.bincount(labels[asked], minlength=len(labels))
    counted = asking & (members[labels] > int(queries is None))
    first = _first(images, asked)
    heads = torch.bincount(labels[first[first >= 0]], minlength=len(labels))
    found = first[images]
    if queries is None:
        # The first of its group finds the second.
        place = torch.arange(len(labels))
        others = _first(images, place != found)
        found = torch.where(found == place, others[images], found)
        reachable = heads[labels] > (found < 0).long()  # a lone image is the first of its own
    else:
        reachable = heads[labels] > 0
    decided = counted & (found >= 0)
    hits = int((decided & (labels[found] == labels)).sum())
    hits += _most_frequent(labels, images, counted & (found < 0) & reachable)
    return Ceiling(int(counted.sum()), hits, _most_frequent(labels, images, counted))


def _first(images: Tensor, among: Tensor) -> Tensor:
    """The first position (by image) of those ``among``; -1 for none."""
    places = among.nonzero().squeeze(1)
    first = torch.full_like(images, len(images))
    first.scatter_reduce_(0, images[places], places, "amin")
    return torch.where(first < len(images), first, -1)


def _most_frequent(labels: Tensor, images: Tensor, chosen: Tensor) -> int:
    """The sum over images of how often the most frequent label occurs among the chosen of them."""
    pairs, counts = torch.unique(torch.stack([images[chosen], labels[chosen]]), dim=1, return_counts=True)
    best = torch.zeros_like(images).scatter_reduce_(0, pairs[0], counts, "amax")
    return int(best.sum())
