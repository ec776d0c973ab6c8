import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metriscope.data.samplers import ClassBalancedBatchSampler
from metriscope.data.similar_classes import SimilarClassesBatchSampler, nearest_classes, plan_of_similar_classes
from metriscope.errors import InputError, RunError
from metriscope.parts import judge

# Sample4Geo's own code, fed the same: items 1..8 in order, batches of 4, select 2, range 3.
NEIGHBORS = np.array([[5, 2, 7], [6, 1, 3], [4, 8, 2], [3, 8, 1], [1, 7, 2], [2, 5, 1], [1, 5, 8], [3, 4, 7]]) - 1


def example(groups):
    order = np.repeat(np.arange(8), groups)
    total = -(-sum(groups) // 4)
    found = plan_of_similar_classes(np.array(groups), NEIGHBORS, 4, 2, total, order, lambda values: values)
    return (found + 1).tolist()


def test_worked_example():
    assert example([1] * 8) == [[1, 5, 2, 3], [4, 8, 6, 7]]


def test_what_remains_is_completed_where_the_published_code_drops_it():
    assert example([1] * 7 + [0]) == [[1, 5, 2, 3], [4, 6, 7, 3]]


def labels_of(sizes):
    return torch.cat([torch.full((size,), c) for c, size in enumerate(sizes)])


def with_table(labels, seed=0, **arguments):
    sampler = SimilarClassesBatchSampler(labels, seed=seed, **arguments)
    means = torch.randn(int(labels.max()) + 1, 3, generator=torch.Generator().manual_seed(seed))
    if sampler.has_choice:
        sampler.use(nearest_classes(means.double(), sampler.neighbors), sampler.data)
    return sampler


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=12), data=st.data(), seed=st.integers(0, 1000))
def test_batches_have_distinct_classes_and_cover_the_data(sizes, data, seed):
    P = data.draw(st.integers(1, len(sizes)))
    K = data.draw(st.integers(1, max(sizes)))
    labels = labels_of(sizes)
    own = {"neighbors": data.draw(st.none() | st.integers(4, 7)), "select": data.draw(st.none() | st.integers(1, 4))}
    own |= {"batch_size": P * K, "classes_per_batch": P, "samples_per_class": K}
    sampler = with_table(labels, seed, **own)
    batches = list(sampler)
    assert len(batches) == len(sampler) == len(ClassBalancedBatchSampler(labels, P * K, P, K))
    assert {i for batch in batches for i in batch} == set(range(len(labels)))
    for batch in batches:
        assert len(set(batch)) == len(batch)
        present, times = labels[batch].unique(return_counts=True)
        assert len(present) == P
        assert times.tolist() == [min(K, sizes[c]) for c in present.tolist()]
    assert batches == list(with_table(labels, seed, **own))


@pytest.mark.parametrize("P", [2, 4], ids=["no table yet", "all classes in a batch"])
def test_it_is_the_class_balanced_sampler_draw_for_draw(P):
    labels = labels_of([9, 5, 7, 3])
    found, wanted = (kind(labels, 8, P, seed=3) for kind in (SimilarClassesBatchSampler, ClassBalancedBatchSampler))
    assert found.due(1) == (P == 2)
    for epoch in range(3):
        found.set_epoch(epoch)
        wanted.set_epoch(epoch)
        assert list(found) == list(wanted)


def test_batches_hold_near_classes():
    """Eight clusters of four classes on a circle, and batches of four classes."""
    labels = labels_of([4] * 32)
    angle = torch.arange(32) // 4 * 0.7 + torch.arange(32) % 4 * 0.01
    sampler = SimilarClassesBatchSampler(labels, 16, 4, 4, neighbors=3, select=3)
    sampler.use(nearest_classes(torch.stack([angle.cos(), angle.sin()], 1).double(), 3), sampler.data)
    for batch in sampler:
        assert len(set((labels[batch] // 4).tolist())) == 1


def test_ranks_share_the_batches_of_one_process():
    labels = labels_of([6, 5, 7, 3, 4, 2, 8])
    whole, *ranks = (
        list(with_table(labels, batch_size=6, classes_per_batch=3, rank=rank, world_size=world))
        for rank, world in ((0, 1), (0, 2), (1, 2))
    )
    assert [batch for turn in zip(*ranks, strict=True) for batch in turn][: len(whole)] == whole


def test_nearest_classes_go_by_the_direction_of_the_mean():
    sums = torch.tensor([[1.0, 0], [300, 30], [0, 2], [-1, 0.1]]).double()
    assert nearest_classes(sums, 2).tolist() == [[1, 2], [0, 2], [1, 3], [2, 1]]
    assert nearest_classes(sums, 3).dtype == torch.int32
    with pytest.raises(RunError, match="not finite"):
        nearest_classes(sums * torch.nan, 2)


def test_a_table_comes_before_the_epochs_that_are_due():
    sampler = SimilarClassesBatchSampler(labels_of([4] * 9), 8, 4, first_epoch=2, refresh_every_n_epochs=3)
    assert [epoch for epoch in range(10) if sampler.due(epoch)] == [2, 5, 8]
    assert (sampler.neighbors, sampler.select) == (8, 2)


def test_what_does_not_fit_is_refused():
    labels = labels_of([4] * 9)
    with pytest.raises(InputError, match=r"sampler\.classes_per_batch=10, but the train split has 9 classes: set it"):
        SimilarClassesBatchSampler(labels, 40, 10)
    with pytest.raises(InputError, match=r"select=3: there are neighbors=2 to select from"):
        judge(SimilarClassesBatchSampler, {"labels": labels, "neighbors": 2, "select": 3})
    other = with_table(labels_of([5] * 9), batch_size=8, classes_per_batch=4)
    line = (
        "the checkpoint has a table of 8 neighbours of 9 classes of other data, where sampler=similar_classes needs 8"
    )
    with pytest.raises(InputError, match=line):
        SimilarClassesBatchSampler(labels, 8, 4).use(torch.from_numpy(other.table), other.data)
