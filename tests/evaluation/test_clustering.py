import pytest
import torch

from metriscope.evaluation import clustering
from metriscope.evaluation.clustering import clustering_metrics


def blobs(count: int, spread: float) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 4
    return 10 * torch.eye(4)[labels] + spread * torch.randn(count, 4, generator=generator), labels


@pytest.mark.parametrize("full_up_to", [0, 10_000])
def test_separated_classes_are_found_and_noise_is_not(full_up_to: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "FULL_UP_TO", full_up_to)
    embeddings, labels = blobs(200, 0.1)
    assert clustering_metrics(embeddings, labels) == pytest.approx({"nmi": 1, "ami": 1})
    shuffled = labels[torch.randperm(200, generator=torch.Generator().manual_seed(1))]
    found = clustering_metrics(embeddings, shuffled)
    assert found["nmi"] < 0.1
    assert abs(found["ami"]) < 0.05


def test_the_same_every_time_and_whatever_the_labels_are_called() -> None:
    embeddings, labels = blobs(200, 6)
    found = clustering_metrics(embeddings, labels)
    assert 0.05 < found["nmi"] < 0.95
    assert clustering_metrics(embeddings, labels) == found
    assert clustering_metrics(embeddings, labels * 7 + 2**33) == pytest.approx(found)


def test_one_class() -> None:
    embeddings, labels = blobs(20, 1)
    assert clustering_metrics(embeddings, torch.zeros_like(labels)) == {"nmi": 1, "ami": 1}
