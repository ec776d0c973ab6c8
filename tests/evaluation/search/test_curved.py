"""The search in hyperbolic space against all distances in float64, whose order it has to give."""

import pytest
import torch

from metriscope.evaluation.measures import Measures
from metriscope.evaluation.retrieval import query_scores
from metriscope.evaluation.search.curved import Curved
from metriscope.evaluation.search.neighbors import nearest
from metriscope.evaluation.search.points import prepared
from metriscope.objectives.distances.hyperbolic import Hyperbolic

CASES = {"random": (0.1, 2.3, 0.4), "clipped": (0.1, 2.3, 3.0), "near the boundary": (1.0, None, 2.0)}


def embeddings(count, scale, size=6):
    u = torch.randn(count, size, generator=torch.Generator().manual_seed(count)) * scale
    return torch.cat([u, u[: count // 8]])  # with duplicates


def brute_force(queries, gallery, c, clip, exclude_self=False):
    d = Hyperbolic(c, clip)(queries.double(), gallery.double())
    if exclude_self:
        d.fill_diagonal_(torch.inf)
    return d, d.sort(dim=1, stable=True).indices


@pytest.mark.parametrize("case", CASES)
def test_neighbours_are_those_of_all_distances_in_float64(case):
    c, clip, scale = CASES[case]
    queries, gallery = embeddings(24, scale), embeddings(96, scale)
    for space_or_ready in (gallery, prepared(gallery, Curved(c, clip))):
        found = nearest(queries, space_or_ready, 9, space=Curved(c, clip))
        d, wanted = brute_force(queries, gallery, c, clip)
        assert torch.equal(found, wanted[:, :9]) or torch.allclose(
            d.gather(1, found), d.gather(1, wanted[:, :9]), rtol=1e-6
        )
    found = nearest(gallery, gallery, 5, exclude_self=True, space=Curved(c, clip))
    d, wanted = brute_force(gallery, gallery, c, clip, exclude_self=True)
    torch.testing.assert_close(d.gather(1, found), d.gather(1, wanted[:, :5]), rtol=1e-6, atol=1e-6)
    assert torch.equal(found[:12, 0], torch.arange(96, 108)) or case == "clipped"


def test_tiles_find_the_same_and_the_order_is_not_the_euclidean_one():
    u = embeddings(1024, 0.8, size=4)
    found = nearest(u, u, 3, exclude_self=True, space=Curved(0.5, 2.3))
    d, wanted = brute_force(u, u, 0.5, 2.3, exclude_self=True)
    torch.testing.assert_close(d.gather(1, found), d.gather(1, wanted[:, :3]), rtol=1e-6, atol=1e-6)
    assert not torch.equal(found, nearest(u, u, 3, exclude_self=True))


def test_scores_of_retrieval_go_by_the_same_neighbours():
    u, labels = embeddings(64, 1.0), torch.arange(72) % 6
    measures = Measures((1, 2), (1,), True, True, (), True, ())
    scores = query_scores(u, labels, measures, space=Curved(1.0, 2.3))
    _, wanted = brute_force(u, u, 1.0, 2.3, exclude_self=True)
    hits = labels[wanted[:, :-1]] == labels.unsqueeze(1)
    assert torch.equal(scores.first_hit, hits.int().argmax(1) + 1)
