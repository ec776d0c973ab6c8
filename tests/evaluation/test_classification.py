from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.evaluation.classification import knn_accuracy, linear_probe_accuracy


def blobs(count: int, seed: int, spread: float = 0.3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    centres = torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    return centres[labels] + spread * torch.randn(count, 4, generator=generator), labels


def knn_loop(train_z: Tensor, train_labels: Tensor, test_z: Tensor, test_labels: Tensor, k: int) -> float:
    right = 0
    for z, label in zip(test_z, test_labels.tolist(), strict=True):
        order = sorted(range(len(train_z)), key=lambda j: (float((train_z[j] - z).square().sum()), j))
        voters = [int(train_labels[j]) for j in order[:k]]
        winner = max(voters, key=lambda c: (voters.count(c), -voters.index(c)))
        right += winner == label
    return right / len(test_z)


@pytest.mark.parametrize("k", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("spread", [0.3, 1.5])
def test_knn_equals_a_loop(k: int, spread: float) -> None:
    train, test = blobs(60, 0, spread), blobs(40, 1, spread)
    assert knn_accuracy(*train, *test, k) == pytest.approx(knn_loop(*train, *test, k))


def test_an_even_vote_goes_to_the_nearer_class() -> None:
    train_z = torch.tensor([[0.0], [3.0], [4.0], [0.5]])
    train_labels = torch.tensor([1, 0, 0, 1])
    assert knn_accuracy(train_z, train_labels, torch.tensor([[1.0]]), torch.tensor([1]), 4) == 1
    assert knn_accuracy(train_z, train_labels, torch.tensor([[9.0]]), torch.tensor([0]), 4) == 1


def test_linear_probe_separates_and_repeats() -> None:
    train, test = blobs(90, 0), blobs(60, 1)
    accuracy = linear_probe_accuracy(*train, *test)
    assert accuracy > 0.9
    assert linear_probe_accuracy(*train, *test) == accuracy
    shuffled = torch.randperm(90, generator=torch.Generator().manual_seed(0))
    assert linear_probe_accuracy(train[0], train[1][shuffled], *test) < 0.7


def test_linear_probe_with_a_dead_dimension_and_few_iterations(recwarn: pytest.WarningsRecorder) -> None:
    (train_z, train_labels), (test_z, test_labels) = blobs(90, 0), blobs(60, 1)
    train_z[:, 3] = 5.0
    assert linear_probe_accuracy(train_z, train_labels, test_z, test_labels, max_iterations=1) > 0.5
    assert not recwarn.list


def test_one_training_class() -> None:
    z, labels = blobs(30, 0)
    assert linear_probe_accuracy(z, torch.zeros_like(labels), z, labels) == pytest.approx(1 / 3)
    assert knn_accuracy(z, torch.zeros_like(labels), z, labels, 3) == pytest.approx(1 / 3)


@pytest.mark.parametrize("accuracy", [partial(knn_accuracy, k=3), linear_probe_accuracy])
def test_disjoint_classes_are_refused(accuracy: Callable[..., float]) -> None:
    z, labels = blobs(30, 0)
    with pytest.raises(InputError, match="closed-set"):
        accuracy(z, labels, z, labels + 3)
    with pytest.raises(InputError, match="closed-set"):
        accuracy(z[:0], labels[:0], z, labels)


def test_no_voters() -> None:
    with pytest.raises(InputError, match="k=0: it has to be at least 1"):
        knn_accuracy(*blobs(6, 0), *blobs(6, 1), k=0)
