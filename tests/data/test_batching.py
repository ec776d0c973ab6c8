import pytest
import torch
from own_parts import Drawn, Lists

from metriscope.data.batching import Batching
from metriscope.data.samplers import BatchSampler, ClassBalancedBatchSampler, ShuffleBatchSampler
from metriscope.errors import InputError, RunError

LABELS = torch.arange(24) % 3


def batching(part, **arguments):
    return Batching({"_target_": f"{part.__module__}.{part.__qualname__}", "name": "any", **arguments})


@pytest.mark.parametrize(("part", "size"), [(ClassBalancedBatchSampler, 6), (ShuffleBatchSampler, 6), (Drawn, 5)])
def test_two_processes_take_turns_in_what_one_would_show(part, size):
    chosen = batching(part, batch_size=size)
    for epoch in (0, 3):
        alone = chosen.sampler(LABELS, seed=4)
        ranks = [chosen.sampler(LABELS, 4, rank, 2) for rank in (0, 1)]
        for sampler in (alone, *ranks):
            sampler.set_epoch(epoch)
        whole, first, second = (list(sampler) for sampler in (alone, *ranks))
        assert [sampler.rank for sampler in ranks] == [0, 1]
        assert len(first) == len(second) == len(ranks[0]) == -(-len(whole) // 2)
        assert [batch for pair in zip(first, second, strict=True) for batch in pair][: len(whole)] == whole
        ranks[1].resume_at(1)
        assert list(ranks[1]) == second[1:]
        assert list(ranks[1]) == second


def test_epochs_and_seeds_differ():
    sampler = batching(Drawn, batch_size=12).sampler(LABELS, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first
    assert list(batching(Drawn, batch_size=12).sampler(LABELS, seed=1)) != first


def test_batches_may_be_lists():
    assert list(batching(Lists).sampler(LABELS, seed=0)) == [list(range(12)), list(range(12, 24))]


def test_what_fits_the_training_part_is_adapted_to_another():
    few = torch.tensor([0, 0, 4, 4, 4])
    chosen = batching(ClassBalancedBatchSampler, batch_size=6, classes_per_batch=3, samples_per_class=8)
    adapted = chosen.adapted(few).sampler(few, seed=0)
    assert (adapted.classes_per_batch, adapted.samples_per_class) == (2, 3)
    assert batching(Drawn, batch_size=8).adapted(few).sampler(few, seed=0).batch_size == 5
    for same in (
        batching(ClassBalancedBatchSampler, batch_size=4, classes_per_batch=None),
        batching(ShuffleBatchSampler, batch_size=4),
    ):
        assert same.adapted(few) == same


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"batch_size": 0}, r"sampler\.batch_size=0: it has to be a whole number of at least 1$"),
        ({"batch": 2}, r"sampler\.batch: ClassBalancedBatchSampler takes no such argument"),
        ({"classes_per_batch": 4}, r"sampler\.classes_per_batch=4, but the train split has 3 classes"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(arguments, line):
    with pytest.raises(InputError, match=line):
        batching(ClassBalancedBatchSampler, **arguments).sampler(LABELS, seed=0)


class Given(BatchSampler):
    """Batches as they were given."""

    def __init__(self, labels, own=None, number=2, seed=0, rank=0, world_size=1):
        super().__init__(labels, seed, rank, world_size)
        self.own, self.number = own, number

    def total(self):
        return self.number

    def batches(self, source):
        return self.own


@pytest.mark.parametrize(
    ("own", "line"),
    [
        (None, "has to give a sequence of 2 batches, as total"),
        ([[1, 2]], "has to give a sequence of 2 batches, as total"),
        ([[0, 24], [1]], "gives the batch tensor([ 0, 24]): it has to hold positions from 0 to 23"),
        ([[-1], [1]], "gives the batch tensor([-1]): it has to hold positions"),
        ([[], [1]], "gives the batch tensor([]): it has to hold positions"),
        ([[0.5], [1]], "gives the batch tensor([0.5000]): it has to hold positions"),
    ],
)
def test_batches_that_are_none_are_one_line(own, line):
    with pytest.raises(RunError) as failed:
        list(batching(Given, own=own).sampler(LABELS, seed=0))
    assert str(failed.value).startswith(f"Given.batches() {line}")


def test_an_epoch_has_batches():
    with pytest.raises(InputError, match="the sampler Given has no batch in an epoch of 24 examples"):
        batching(Given, number=0).sampler(LABELS, seed=0)
    with pytest.raises(InputError, match="the sampler Given cannot say how many batches an epoch has: TypeError: "):
        batching(Given, number="a").sampler(LABELS, seed=0)
    with pytest.raises(InputError, match=r"the sampler BatchSampler has no total\(\): see"):
        BatchSampler(LABELS)
