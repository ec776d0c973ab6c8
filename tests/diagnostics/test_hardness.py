"""Hardness of batches against a loop over pairs of class means."""

import pytest
import torch
from torch.nn.functional import normalize

from metriscope.diagnostics.hardness import BatchHardness


def batches(count: int = 6) -> list[tuple[torch.Tensor, torch.Tensor]]:
    source = torch.Generator().manual_seed(0)
    return [
        (torch.randn(8, 4, generator=source), torch.randint(5, (4,), generator=source).repeat_interleave(2))
        for _ in range(count)
    ]


def mean_cosine(means: list[torch.Tensor]) -> float:
    found = [float(a @ b) for i, a in enumerate(means) for b in means[i + 1 :]]
    return sum(found) / len(found)


def mean_of(z: torch.Tensor, labels: torch.Tensor, label: int) -> torch.Tensor:
    rows = normalize(z[labels == label].double(), dim=1)
    return normalize(rows.mean(0), dim=0)


def test_hardness_is_that_of_a_loop() -> None:
    hardness, last = BatchHardness(), {}
    for z, labels in batches():
        own = {label: mean_of(z, labels, label) for label in labels.unique().tolist()}
        last.update(own)
        value, weight = hardness.observe(z.requires_grad_(), labels)["batch_hardness"]
        wanted = mean_cosine(list(own.values())) - mean_cosine(list(last.values()))
        assert (float(value), weight) == (pytest.approx(wanted, abs=1e-12), 1)
        assert not value.requires_grad


def test_similar_classes_are_hard_and_a_batch_of_all_is_not() -> None:
    z = torch.tensor([[1.0, 0.0], [0.9, 0.1], [-1.0, 0.0], [-0.9, 0.1]])
    hardness, labels = BatchHardness(), torch.arange(4)
    assert float(hardness.observe(z, labels)["batch_hardness"][0]) == pytest.approx(0, abs=1e-12)
    assert float(hardness.observe(z[:2], labels[:2])["batch_hardness"][0]) > 1
    assert float(hardness.observe(z[1:3], labels[1:3])["batch_hardness"][0]) < 0


def test_batches_without_a_pair_of_classes() -> None:
    hardness, z = BatchHardness(), torch.randn(3, 2)
    assert hardness.observe(z, torch.tensor([2, 2, -1])) == {}
    assert hardness.observe(z, torch.tensor([-1, -1, -1])) == {}
    assert hardness.observe(z[:0], torch.tensor([], dtype=torch.int64)) == {}
    opposite = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]])
    assert float(hardness.observe(opposite, torch.tensor([0, 0, 1]))["batch_hardness"][0]) == pytest.approx(
        0, abs=1e-12
    )


def test_it_goes_on_where_it_was() -> None:
    one, other, (first, second, *_) = BatchHardness(), BatchHardness(), batches()
    one.observe(*first)
    other.load_state_dict(one.state_dict())
    assert torch.equal(*(each.observe(*second)["batch_hardness"][0] for each in (one, other)))
    fresh = BatchHardness()
    fresh.load_state_dict(BatchHardness().state_dict())
    assert fresh.state is None
