"""The ceiling on Recall@1 against all rankings that there can be, and against embeddings that reach it."""

from itertools import combinations, product

import pytest
import torch

from metriscope.data.audit.ceiling import ceiling
from metriscope.evaluation.retrieval import retrieval_metrics


def best_of_all_rankings(labels, images, queries, levels):
    """The most hits, by trying all orders of the distances between different images, with ties.

    Any order is one of some points: those of a simplex whose edges differ a little. Level 0 is distance zero.
    """
    kinds = sorted(set(images))
    edges = list(combinations(kinds, 2))
    best = 0
    for values in product(levels, repeat=len(edges)):
        distance = {(kind, kind): 0 for kind in kinds}
        for (a, b), value in zip(edges, values, strict=True):
            distance[a, b] = distance[b, a] = value
        if any(not distance[a, b] and distance[a, c] != distance[b, c] for a, b, c in product(kinds, repeat=3)):
            continue  # images on one point have the same distance from any other
        best = max(best, hits_of(labels, images, queries, distance))
    return best


def hits_of(labels, images, queries, distance):
    hits = 0
    for q in range(len(labels)):
        if queries is not None and not queries[q]:
            continue
        gallery = [g for g in range(len(labels)) if (g != q if queries is None else not queries[g])]
        if any(labels[g] == labels[q] for g in gallery):
            nearest = min(gallery, key=lambda g: (distance[images[q], images[g]], g))
            hits += labels[nearest] == labels[q]
    return hits


def cases(seed, number, size, kinds, classes, with_queries):
    source = torch.Generator().manual_seed(seed)
    for _ in range(number):
        labels, images = (torch.randint(0, top, (size,), generator=source) for top in (classes, kinds))
        queries = torch.rand(size, generator=source) < 0.6 if with_queries else None
        if queries is None or 0 < int(queries.sum()) < size:
            yield labels, images, queries


@pytest.mark.parametrize("with_queries", [False, True], ids=["leave-one-out", "gallery"])
@pytest.mark.parametrize(("size", "kinds", "number"), [(4, 3, 25), (6, 3, 25), (8, 3, 25), (7, 4, 6)])
def test_no_ranking_does_better_and_one_is_as_good(with_queries, size, kinds, number):
    for labels, images, queries in cases(size, number, size, kinds, 3, with_queries):
        found = ceiling(labels, images, queries)
        asking = None if queries is None else queries.tolist()
        assert found.hits == best_of_all_rankings(labels.tolist(), images.tolist(), asking, (1, 2, 3))
        assert best_of_all_rankings(labels.tolist(), images.tolist(), asking, (0, 1, 2)) <= found.collapsed


def reaching(labels, images, queries):
    """Points that reach the ceiling: each image lies near the label that it, or the first of its copies, has.

    Queries without a copy go to the most frequent label among them that can be found.
    """
    points = torch.zeros(len(labels), int(labels.max()) + 2, dtype=torch.float64)
    gallery = torch.ones_like(labels, dtype=torch.bool) if queries is None else ~queries
    first = {}
    for place in gallery.nonzero().squeeze(1).tolist():
        first.setdefault(int(images[place]), int(labels[place]))
    for place, image in enumerate(images.tolist()):
        home = first.get(image)
        if home is None:
            alike = [label for label in labels[images == image].tolist() if label in first.values()]
            home = max(sorted(alike), key=alike.count, default=int(labels[place]))
        points[place, home] = 1
        points[place, -1] = 0.01 * image
    return points


@pytest.mark.parametrize("with_queries", [False, True], ids=["leave-one-out", "gallery"])
def test_the_search_of_runs_reaches_it(with_queries):
    for labels, images, queries in cases(0, 30, 40, 24, 6, with_queries):
        found = ceiling(labels, images, queries)
        reached = retrieval_metrics(reaching(labels, images, queries), labels, recall_at=(1,), queries=queries)
        assert reached["recall_at_1"] == pytest.approx(found.hits / found.queries)
        skipped = len(labels) if queries is None else int(queries.sum())
        assert skipped - reached["queries_skipped"] == found.queries


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [4, 2, 0, 3, 1], [1, 3, 4, 0, 2]])
def test_ties_are_broken_by_position(order):
    """Three copies with labels a, a, b, and one more image of each label."""
    labels = torch.tensor([0, 0, 1, 0, 1])[order]
    images = torch.tensor([7, 7, 7, 8, 9])[order]
    b = order.index(2)
    copies = sorted(order.index(one) for one in (0, 1, 2))
    # Where b is the first or the second copy, each a but one finds b.
    expected = {0: 0, 1: 1, 2: 2}[copies.index(b)]
    lone_a = copies[0] != b  # the other image of a finds the first copy
    lone_b = copies[0] == b
    assert ceiling(labels, images).hits == expected + lone_a + lone_b
    assert ceiling(labels, images).collapsed == 4


def test_without_copies_everything_can_be_found():
    labels = torch.tensor([0, 0, 1, 1, 2])
    assert ceiling(labels, torch.arange(5)) == (4, 4, 4)
    # The first two find one another, and all others the first.
    assert ceiling(labels, torch.zeros(5, dtype=torch.int64)).hits == 2
    assert torch.tensor(ceiling(labels[:1], torch.zeros(1)).recall).isnan()
