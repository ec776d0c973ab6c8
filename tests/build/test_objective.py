"""The space in which an evaluated run ranks."""

from typing import Any

import pytest
from tiny_runs import COMPOSER, TINY
from torch import nn

from metriscope.build.learner import build_embedding_only
from metriscope.build.objective import ranking_space
from metriscope.callbacks.evaluation import space_of
from metriscope.config.plain import plain

SUM = "loss.losses=[{name: contrastive, space: trunk, distance: euclidean}, {name: contrastive, distance: hyperbolic}]"


@pytest.mark.parametrize(
    ("words", "curvature"),
    [(["distance=hyperbolic", "distance.curvature=0.5"], 0.5), (["loss=sum", SUM], 0.1), ([], None)],
)
def test_it_is_that_of_the_first_distance_of_embeddings(words, curvature):
    space = ranking_space(plain(COMPOSER([*TINY, "head.normalize=false", *words])))
    assert (space and space.curvature) == curvature
    network: Any = nn.Linear(2, 2)
    assert space_of(build_embedding_only(network, seed=0, space=space)) is space
