"""Batch samplers: batches of positions as a function of (seed, epoch), divided among the ranks."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Sampler

from metriscope.errors import InputError
from metriscope.seeds import generator

Ints = NDArray[np.int64]


class _EpochBatchSampler(Sampler[list[int]]):
    """Every rank computes the list of all batches of an epoch and takes every ``world_size``-th batch.

    The list is padded with its first batches, so that all ranks have the same number.
    """

    def __init__(self, seed: int, rank: int, world_size: int) -> None:
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.start = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def resume_at(self, batch_index: int) -> None:
        """Makes the next iteration, and only this one, begin at this batch of the rank's epoch."""
        self.start = batch_index

    def __len__(self) -> int:
        """Batches per full epoch on this rank, also if the next iteration begins at a later batch."""
        return math.ceil(self._total() / self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        start, self.start = self.start, 0
        batches = self._batches(generator(self.seed, "sampler", self.epoch))
        for turn in range(start, len(self)):
            yield batches[(self.rank + turn * self.world_size) % len(batches)].tolist()

    def _total(self) -> int:
        raise NotImplementedError

    def _batches(self, source: torch.Generator) -> list[Ints]:
        raise NotImplementedError


class ClassBalancedBatchSampler(_EpochBatchSampler):
    """Batches of P distinct classes with K samples each; an epoch contains every sample at least once.

    Per epoch every class is shuffled and cut into groups of K. Batches take the P classes with the most
    groups left, ties at random, in a random order over the epoch. The last group of a class is filled with
    its other samples, as are the extra groups that complete the last batches; a class smaller than K gives
    all its samples, without repetition.

    Args:
        labels: int64 (N,), the class of each sample.
        batch_size: target number of samples per batch if P or K is None.
        classes_per_batch: P; None derives it: ``batch_size // K``, or a quarter of the batch if K is None
            too.
        samples_per_class: K; None derives it: ``batch_size // P``.
        seed: determines the order together with the epoch.
        rank, world_size: number of this process, and of all processes that train together.

    Raises:
        InputError: P or K exceeds the data, or a batch would be empty.
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: int,
        classes_per_batch: int | None = None,
        samples_per_class: int | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(seed, rank, world_size)
        if len(labels) == 0:
            raise InputError(
                "the class-balanced sampler has no examples to draw from: check the data set's train split"
            )
        # classes without samples are not drawn
        self._labels: Ints = torch.unique(labels, return_inverse=True)[1].numpy()
        self._counts: Ints = np.bincount(self._labels)
        self.classes_per_batch, self.samples_per_class = _batch_shape(
            batch_size, classes_per_batch, samples_per_class, len(self._counts), int(self._counts.max())
        )
        self._groups: Ints = -(-self._counts // self.samples_per_class)

    def _total(self) -> int:
        return max(int(self._groups.max()), math.ceil(int(self._groups.sum()) / self.classes_per_batch))

    def _batches(self, source: torch.Generator) -> list[Ints]:
        K = self.samples_per_class
        shuffled = torch.randperm(len(self._labels), generator=source).numpy()
        by_class = shuffled[np.argsort(self._labels[shuffled], kind="stable")]
        first = np.cumsum(self._counts) - self._counts

        plan = _plan(self._groups, self.classes_per_batch, source)
        classes = plan.ravel()
        # The j-th time a class is drawn, it gives places jK..jK+K-1 of its shuffled samples, modulo their
        # number.
        by_turn = np.argsort(classes, kind="stable")
        drawn = np.bincount(classes, minlength=len(self._counts))
        turn = np.empty_like(classes)
        turn[by_turn] = np.arange(len(classes)) - (np.cumsum(drawn) - drawn)[classes[by_turn]]
        place = (turn[:, None] * K + np.arange(K)) % self._counts[classes][:, None]
        rows = by_class[first[classes][:, None] + place].reshape(len(plan), -1)
        if self._counts.min() >= K:
            return list(rows)
        kept = (np.arange(K) < self._counts[classes][:, None]).reshape(len(plan), -1)
        return [row[keep] for row, keep in zip(rows, kept, strict=True)]


class ShuffleBatchSampler(_EpochBatchSampler):
    """Batches of shuffled samples, each once per epoch; sizes differ by at most one, so there is no small
    last batch.

    Raises:
        InputError: no samples, or ``batch_size`` below 1.
    """

    def __init__(self, size: int, batch_size: int, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        super().__init__(seed, rank, world_size)
        _check_sizes(size, batch_size)
        self.size = size
        self.batch_size = batch_size

    def _total(self) -> int:
        return math.ceil(self.size / self.batch_size)

    def _batches(self, source: torch.Generator) -> list[Ints]:
        return np.array_split(torch.randperm(self.size, generator=source).numpy(), self._total())


class SequentialBatchSampler(Sampler[list[int]]):
    """Batches in order, for evaluation: each rank has its own segment, without padding or repetition.

    All ranks have the same number of batches, whose sizes differ by at most one within a rank.

    Raises:
        InputError: ``batch_size`` is below 1, or there are fewer samples than ranks.
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        _check_sizes(size, batch_size)
        if size < world_size:
            raise InputError(f"{size} examples cannot be evaluated on {world_size} processes: use fewer devices")
        # No batch of any rank is empty, even if some batches then hold one sample more than batch_size.
        self._batches = min(math.ceil(math.ceil(size / world_size) / batch_size), size // world_size)
        edges = [size * part // world_size for part in (rank, rank + 1)]
        self._share = np.arange(*edges)

    def __len__(self) -> int:
        return self._batches

    def __iter__(self) -> Iterator[list[int]]:
        return (batch.tolist() for batch in np.array_split(self._share, self._batches))


def _check_sizes(size: int, batch_size: int) -> None:
    if size < 1:
        raise InputError("there are no examples to make batches of: check the data set and its split")
    if batch_size < 1:
        raise InputError(f"a batch size of {batch_size} is no batch: set it to at least 1")


def _batch_shape(
    batch_size: int, classes: int | None, samples: int | None, available: int, largest: int
) -> tuple[int, int]:
    """P and K from the settings and the number of available classes and samples."""
    if classes is not None and classes > available:
        raise InputError(
            f"sampler.classes_per_batch={classes}, but the train split has {available} classes: set it to at "
            f"most {available}, or to null"
        )
    if samples is not None and samples > largest:
        raise InputError(
            f"sampler.samples_per_class={samples}, but the largest class has {largest} samples: set it to at "
            f"most {largest}, or to null"
        )
    P, K = classes, samples
    if P is None and K is None:
        P = min(available, max(2, batch_size // 4))
        K = min(batch_size // P, largest)
        P = min(available, batch_size // K) if K else P
    elif P is None and K is not None:
        P = min(available, batch_size // K) if K > 0 else 0
    elif K is None and P is not None:
        K = min(batch_size // P, largest) if P > 0 else 0
    assert P is not None
    assert K is not None
    if P < 1 or K < 1:
        raise InputError(
            f"{P} classes x {K} samples is no batch (sampler.batch_size={batch_size}, "
            f"classes_per_batch={classes}, samples_per_class={samples}): raise sampler.batch_size or set the "
            "other two so that they fit in it"
        )
    return P, K


def _plan(groups: Ints, width: int, source: torch.Generator) -> Ints:
    """Classes of every batch, (T, width), distinct within a row; class c occurs at least ``groups[c]`` times.

    Taking the classes with most groups left first needs the fewest batches: max(groups.max(),
    ceil(groups.sum() / width)).
    """
    left = groups.copy()
    rows: list[Ints] = []
    while 0 < np.count_nonzero(left == left.max()) < width and left.max() > 0:
        priority = left + torch.rand(len(left), generator=source, dtype=torch.float64).numpy()
        row = np.argpartition(-priority, width - 1)[:width]
        rows.append(row)
        left[row] = np.maximum(left[row] - 1, 0)
    # From here on at least `width` classes share the largest number of groups left, also after one group of each
    # is taken: so whole rounds give the same batches as single choices.
    rounds: list[Ints] = []
    open_batch = np.empty(0, dtype=np.int64)
    for level in range(int(left.max()), -1, -1):
        if level == 0 and len(open_batch) == 0:
            break
        members = np.flatnonzero(left >= level)
        members = members[torch.randperm(len(members), generator=source).numpy()]
        if len(open_batch):
            fresh = np.flatnonzero(~np.isin(members, open_batch))[: width - len(open_batch)]
            rounds.append(members[fresh])
            members = np.delete(members, fresh)
        if level > 0:
            rounds.append(members)
            open_batch = members[len(members) - len(members) % width :]
    tail = np.concatenate(rounds).reshape(-1, width) if rounds else np.empty((0, width), dtype=np.int64)
    plan: Ints = np.concatenate([np.array(rows, dtype=np.int64).reshape(-1, width), tail])
    order: Ints = torch.randperm(len(plan), generator=source).numpy()
    return plan[order]
