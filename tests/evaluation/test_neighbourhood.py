"""The ICNN score against worked values, and at the edge of what there is."""

import math

import pytest
import torch
from worked_examples import LABELS, POINTS, tensor

from metriscope.evaluation.neighbourhood import icnn_score


@pytest.mark.parametrize(
    ("k", "score", "loss"), [(2, 0.403576528348, 0.907389147921), (3, 0.420844875982, 0.865490978802)]
)
@pytest.mark.parametrize("memory_mb", [256, 1e-9])
def test_worked_example(k: int, score: float, loss: float, memory_mb: float) -> None:
    found = icnn_score(tensor(POINTS), torch.tensor(LABELS), k, memory_mb)
    assert found == pytest.approx(score, abs=2e-12)
    assert -math.log(found) == pytest.approx(loss, abs=2e-11)


def test_few_samples_one_class_and_copies() -> None:
    points, labels = tensor(POINTS), torch.tensor(LABELS)
    assert math.isnan(icnn_score(points[:2], labels[:2]))
    # No neighbour of another class, and as many neighbours as there can be.
    assert icnn_score(points[:3], labels[:3]) == pytest.approx(1.0, abs=1e-6)
    for copies in (torch.ones(6, 2), torch.zeros(6, 2)):
        assert 0 <= icnn_score(copies, labels, 2) <= 1
    # No two of a class: nothing is far from its own class.
    assert icnn_score(points, torch.arange(6), 2) == pytest.approx((1 + icnn_other(points)) / 4, abs=1e-6)


def icnn_other(points: torch.Tensor) -> float:
    distances = [sorted((points[i] - points[j]).norm().item() for j in range(6) if j != i)[:2] for i in range(6)]
    return sum(sum(two) / 2 for two in distances) / 6 / max(max(two) for two in distances)


def test_compact_classes_score_higher() -> None:
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(40) % 4
    centres, noise = torch.eye(4)[labels], torch.randn(40, 4, generator=source)
    scores = [icnn_score(centres + spread * noise, labels) for spread in (0.01, 0.3, 3.0)]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] > 0.9
