import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metriscope.data.samplers import ClassBalancedBatchSampler, SequentialBatchSampler, ShuffleBatchSampler
from metriscope.errors import InputError

counts = st.lists(st.integers(1, 40), min_size=1, max_size=12)


def labels_of(sizes):
    return torch.cat([torch.full((size,), c) for c, size in enumerate(sizes)])


@settings(max_examples=150, deadline=None)
@given(sizes=counts, data=st.data(), seed=st.integers(0, 1000))
def test_batches_have_distinct_classes_and_cover_the_data(sizes, data, seed):
    P = data.draw(st.integers(1, len(sizes)))
    K = data.draw(st.integers(1, max(sizes)))
    labels = labels_of(sizes)
    sampler = ClassBalancedBatchSampler(labels, P * K, P, K, seed=seed)
    batches = list(sampler)
    groups = [-(-size // K) for size in sizes]
    assert len(batches) == len(sampler) == max(max(groups), -(-sum(groups) // P))
    assert {i for batch in batches for i in batch} == set(range(len(labels)))
    for batch in batches:
        assert len(set(batch)) == len(batch)
        present, times = labels[batch].unique(return_counts=True)
        assert len(present) == P
        assert times.tolist() == [min(K, sizes[c]) for c in present.tolist()]


@settings(max_examples=50, deadline=None)
@given(sizes=counts, world_size=st.integers(1, 7), balanced=st.booleans())
def test_ranks_share_the_batches_of_one_process(sizes, world_size, balanced):
    labels = labels_of(sizes)

    def sampler(rank, world):
        if balanced:
            return ClassBalancedBatchSampler(labels, 8, seed=3, rank=rank, world_size=world)
        return ShuffleBatchSampler(labels, 8, seed=3, rank=rank, world_size=world)

    whole = list(sampler(0, 1))
    ranks = [list(sampler(rank, world_size)) for rank in range(world_size)]
    assert len({len(batches) for batches in ranks}) == 1
    assert len(ranks[0]) == len(sampler(0, world_size))
    dealt = [batch for turn in zip(*ranks, strict=True) for batch in turn]
    assert dealt[: len(whole)] == whole
    assert dealt[len(whole) :] == [whole[i % len(whole)] for i in range(len(dealt) - len(whole))]


@pytest.mark.parametrize("kind", ["balanced", "shuffle"])
def test_order_depends_on_seed_and_epoch_alone(kind):
    def sampler(seed):
        if kind == "balanced":
            return ClassBalancedBatchSampler(labels_of([30, 20, 10]), 12, seed=seed)
        return ShuffleBatchSampler(labels_of([60]), 12, seed=seed)

    one = sampler(1)
    first = list(one)
    assert list(one) == first
    one.set_epoch(5)
    fifth = list(one)
    assert fifth != first
    other = sampler(1)
    other.set_epoch(5)
    torch.rand(7)
    assert list(other) == fifth
    assert list(sampler(2)) != first


def test_resume_skips_once_and_keeps_the_length():
    sampler = ClassBalancedBatchSampler(labels_of([30, 20, 10]), 12, seed=0)
    whole = list(sampler)
    sampler.resume_at(2)
    assert len(sampler) == len(whole)
    assert list(sampler) == whole[2:]
    assert list(sampler) == whole


@pytest.mark.parametrize(
    ("sizes", "batch_size", "P", "K", "expected"),
    [
        ([500] * 10, 250, None, None, (10, 25)),
        ([500] * 10, 256, None, None, (10, 25)),
        ([500] * 100, 128, None, None, (32, 4)),
        ([2] * 1000, 256, None, None, (128, 2)),
        ([3] * 10, 250, None, None, (10, 3)),
        ([50, 50], 2, None, None, (2, 1)),
        ([50], 8, None, None, (1, 8)),
        ([50] * 10, 64, 8, None, (8, 8)),
        ([50] * 10, 64, None, 16, (4, 16)),
        ([50] * 10, 64, None, 2, (10, 2)),
        ([50] * 10, 7, 5, 4, (5, 4)),
    ],
)
def test_batch_shape_adapts(sizes, batch_size, P, K, expected):
    sampler = ClassBalancedBatchSampler(labels_of(sizes), batch_size, P, K)
    assert (sampler.classes_per_batch, sampler.samples_per_class) == expected


@pytest.mark.parametrize(
    ("batch_size", "P", "K", "words"),
    [
        (64, 11, None, ["classes_per_batch=11", "10 classes"]),
        (64, None, 51, ["samples_per_class=51", "50 samples"]),
        (4, 5, None, ["5 classes x 0 samples"]),
        (4, None, 8, ["0 classes x 8 samples"]),
        (1, None, None, ["sampler.batch_size=1"]),
        (64, 0, 4, ["classes_per_batch=0"]),
        (64, 4, 0, ["samples_per_class=0"]),
        (64, None, -1, ["samples_per_class=-1"]),
        (0, None, None, ["batch_size=0"]),
    ],
)
def test_impossible_batches_are_refused_in_one_line(batch_size, P, K, words):
    with pytest.raises(InputError) as error:
        ClassBalancedBatchSampler(labels_of([50] * 10), batch_size, P, K)
    assert all(word in str(error.value) for word in words)
    assert "\n" not in str(error.value)


def test_labels_without_samples_are_not_drawn():
    sampler = ClassBalancedBatchSampler(torch.tensor([0, 0, 5, 5, 9, 9]), 6)
    assert (sampler.classes_per_batch, sampler.samples_per_class) == (3, 2)
    assert {i for batch in sampler for i in batch} == set(range(6))


@pytest.mark.parametrize("classes", [10, 11000])
def test_an_epoch_of_60000_is_planned_quickly(classes):
    sampler = ClassBalancedBatchSampler(torch.randint(classes, (60_000,)), 128)
    start = time.perf_counter()
    assert len(list(sampler)) == len(sampler)
    assert time.perf_counter() - start < 1  # 0.05 s on an idle core


@given(size=st.integers(1, 200), batch_size=st.integers(1, 40))
def test_shuffle_shows_each_sample_once(size, batch_size):
    batches = list(ShuffleBatchSampler(labels_of([size]), batch_size))
    assert sorted(i for batch in batches for i in batch) == list(range(size))
    lengths = {len(batch) for batch in batches}
    assert max(lengths) <= batch_size
    assert max(lengths) - min(lengths) <= 1


@given(size=st.integers(1, 200), batch_size=st.integers(1, 40), world_size=st.integers(1, 5))
def test_evaluation_shares_are_disjoint_complete_and_equally_many(size, batch_size, world_size):
    if size < world_size:
        with pytest.raises(InputError, match="fewer devices"):
            SequentialBatchSampler(size, batch_size, 0, world_size)
        return
    ranks = [SequentialBatchSampler(size, batch_size, rank, world_size) for rank in range(world_size)]
    batches = [list(rank) for rank in ranks]
    assert [i for rank in batches for batch in rank for i in batch] == list(range(size))
    assert {len(rank) for rank in batches} == {len(ranks[0])}
    assert all(0 < len(batch) <= max(batch_size, 2) for rank in batches for batch in rank)


def test_batches_of_nothing_are_refused():
    for make in (
        lambda: ShuffleBatchSampler(labels_of([0]), 4),
        lambda: SequentialBatchSampler(0, 4),
        lambda: ClassBalancedBatchSampler(torch.tensor([], dtype=torch.int64), 4),
    ):
        with pytest.raises(InputError):
            make()
