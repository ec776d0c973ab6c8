"""Sides of samples: the modality of each row, from the network to whatever is compared."""

import torch

from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.euclidean import Euclidean
from metriscope.objectives.references.embedding_expansion import EmbeddingExpansion
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.objectives.samples import Moment, Samples, Spaces

Z = torch.nn.functional.normalize(torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
LABELS = torch.tensor([0, 0, 1, 1, 0, 0, 1, 1])
SIDE = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])


def batch_of(side: torch.Tensor | None = SIDE) -> Samples:
    return Spaces.of(Z, LABELS, torch.arange(4).repeat(2), side=side).samples("embedding")


def sides_of(samples: Samples) -> list[int] | None:
    return None if samples.side is None else samples.side.tolist()


def test_sides_reach_the_comparison() -> None:
    assert sides_of(batch_of()) == SIDE.tolist()
    assert sides_of(batch_of(None)) is None
    memory = CrossBatchMemory(10, 3, sides=True)
    memory.store(batch_of())
    segment = memory.recall(batch_of(), Moment())
    assert sides_of(segment.samples) == [*SIDE.tolist(), -1, -1]
    comparison = Comparison(batch_of(), [Segment(batch_of()), segment], Euclidean())
    assert sides_of(comparison.references) == [*SIDE.tolist(), *SIDE.tolist(), -1, -1]
    assert sides_of(comparison.among(torch.tensor([1, 5]), torch.tensor([0, 6])).anchors) == [0, 1]


def test_a_checkpoint_of_a_memory_holds_sides() -> None:
    memory, other = CrossBatchMemory(10, 3, sides=True), CrossBatchMemory(10, 3, sides=True)
    memory.store(batch_of())
    other.load_state_dict(memory.state_dict())
    assert sides_of(other.recall(batch_of(), Moment()).samples) == sides_of(memory.recall(batch_of(), Moment()).samples)


def test_a_memory_without_sides_has_no_further_state() -> None:
    memory = CrossBatchMemory(4, 3)
    memory.store(batch_of())
    assert "side" not in memory.state_dict()
    assert sides_of(memory.recall(batch_of(), Moment()).samples) is None


def test_expanded_points_lie_between_samples_of_one_side() -> None:
    interleaved = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1])
    points = EmbeddingExpansion(points=1).recall(batch_of(interleaved), Moment()).samples
    assert sides_of(points) == interleaved.tolist()
    # Samples 0 and 4 are of class 0 and side 0.
    middle = torch.nn.functional.normalize(Z[0] + Z[4], dim=0)
    torch.testing.assert_close(points.embeddings[0], middle)
