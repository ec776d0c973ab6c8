"""Batch samplers: batches of positions as a function of (seed, epoch), divided among the ranks."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Sampler

from metriscope.data.class_batches import Ints, batch_shape, plan_of_classes
from metriscope.errors import InputError, RunError
from metriscope.parts import PartType
from metriscope.seeds import generator

Size = Annotated[int, Field(ge=1)]


class BatchSampler(Sampler[list[int]], metaclass=PartType):
    """Batches of positions in the train part; every sampler is derived from this class.

    A sampler says what an epoch holds, in :meth:`total` and :meth:`batches`. Its constructor takes the arguments below,
    which the run knows, beside those of its config.

    Every rank computes the list of all batches of an epoch and takes every ``world_size``-th batch. The list is padded
    with its first batches, so that all ranks have the same number. A sampler that divides its batches among the ranks
    in another way has to keep to this: iterated, it gives the batches of its rank, a function of seed and epoch alone,
    from :attr:`start` on; its length is that of a full epoch, the same on all ranks and in all epochs.

    Args:
        labels: int64 (N,), the class of each example.
        seed: determines the order together with the epoch.
        rank, world_size: number of this process, and of all processes that train together.

    Attributes:
        epoch: the epoch of the next iteration.
        start: the batch of this rank at which the next iteration begins.
    """

    def __init__(self, labels: Tensor, seed: int = 0, rank: int = 0, world_size: int = 1) -> None:
        if len(labels) == 0:
            raise InputError("there are no examples to make batches of: check the data set's train split")
        self.labels = labels
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.start = 0

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        """Refuses a class that does not say what an epoch holds.

        Raises:
            InputError: naming the method that it lacks.
        """
        for name in ("total", "batches"):
            if cls.__iter__ is BatchSampler.__iter__ and getattr(cls, name) is getattr(BatchSampler, name):
                raise InputError(
                    f"the sampler {cls.__name__} has no {name}(): see the sampler in docs/how-to/extending.md"
                )

    @classmethod
    def adapted(cls, arguments: Mapping[str, Any], labels: Tensor) -> Mapping[str, Any]:
        """Arguments for the validation part, which may have fewer or smaller classes; here the same ones.

        Args:
            arguments: of the config.
            labels: int64 (N,), of the validation part.
        """
        return arguments

    def total(self) -> int:
        """Number of batches in an epoch, of all ranks together; the same in every epoch."""
        raise NotImplementedError

    def batches(self, source: torch.Generator) -> Sequence[Ints | Tensor | Sequence[int]]:
        """All batches of an epoch, as positions; all that is random comes from ``source``."""
        raise NotImplementedError

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch comes next."""
        self.epoch = epoch

    def resume_at(self, batch_index: int) -> None:
        """Makes the next iteration, and only this one, begin at this batch of the rank's epoch."""
        self.start = batch_index

    def __len__(self) -> int:
        """Batches per full epoch on this rank, also if the next iteration begins at a later batch."""
        return math.ceil(self.total() / self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        start, self.start = self.start, 0
        batches, total = self.batches(generator(self.seed, "sampler", self.epoch)), self.total()
        if not hasattr(batches, "__len__") or len(batches) != total:
            raise RunError(
                f"{type(self).__name__}.batches() has to give a sequence of {total} batches, as total() says"
            )
        for turn in range(start, len(self)):
            yield self._positions(batches[(self.rank + turn * self.world_size) % total])

    def _positions(self, batch: Ints | Tensor | Sequence[int]) -> list[int]:
        found = torch.as_tensor(batch)
        whole = found.ndim == 1 and len(found) > 0 and not found.is_floating_point()
        if not whole or found.min() < 0 or found.max() >= len(self.labels):
            shown = " ".join(str(found).split())[:80]
            raise RunError(
                f"{type(self).__name__}.batches() gives the batch {shown}: it has to hold positions from 0 to "
                f"{len(self.labels) - 1}"
            )
        return [int(position) for position in found.tolist()]


class ClassBalancedBatchSampler(BatchSampler):
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
        batch_size: Size = 256,
        classes_per_batch: Size | None = None,
        samples_per_class: Size | None = None,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(labels, seed, rank, world_size)
        # classes without samples are not drawn
        self._labels: Ints = torch.unique(labels, return_inverse=True)[1].numpy()
        self._counts: Ints = np.bincount(self._labels)
        self.classes_per_batch, self.samples_per_class = batch_shape(
            batch_size, classes_per_batch, samples_per_class, len(self._counts), int(self._counts.max())
        )
        self._groups: Ints = -(-self._counts // self.samples_per_class)

    @classmethod
    def adapted(cls, arguments: Mapping[str, Any], labels: Tensor) -> Mapping[str, Any]:
        """P and K reduced to the classes, and to the size of the largest class."""
        counts = torch.bincount(labels)
        most = {"classes_per_batch": int((counts > 0).sum()), "samples_per_class": int(counts.max())}
        given = {key: arguments[key] for key in most if arguments.get(key) is not None}
        return {**arguments, **{key: min(value, most[key]) for key, value in given.items()}}

    def total(self) -> int:
        return max(int(self._groups.max()), math.ceil(int(self._groups.sum()) / self.classes_per_batch))

    def plan(self, source: torch.Generator) -> Ints:
        """The classes of each batch of an epoch, (T, P), numbered among those that have samples."""
        return plan_of_classes(self._groups, self.classes_per_batch, source)

    def batches(self, source: torch.Generator) -> list[Ints]:
        K = self.samples_per_class
        shuffled = torch.randperm(len(self._labels), generator=source).numpy()
        by_class = shuffled[np.argsort(self._labels[shuffled], kind="stable")]
        first = np.cumsum(self._counts) - self._counts

        plan = self.plan(source)
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


class ShuffleBatchSampler(BatchSampler):
    """Batches of shuffled samples, each once per epoch; sizes differ by at most one, so there is no small
    last batch.

    Args:
        labels, seed, rank, world_size: as of :class:`BatchSampler`.
        batch_size: largest number of samples per batch.

    Raises:
        InputError: no samples, or ``batch_size`` below 1.
    """

    def __init__(
        self, labels: Tensor, batch_size: Size = 256, seed: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__(labels, seed, rank, world_size)
        self.batch_size = batch_size

    def total(self) -> int:
        return math.ceil(len(self.labels) / self.batch_size)

    def batches(self, source: torch.Generator) -> list[Ints]:
        return np.array_split(torch.randperm(len(self.labels), generator=source).numpy(), self.total())


class SequentialBatchSampler(Sampler[list[int]]):
    """Batches in order, for evaluation: each rank has its own segment, without padding or repetition.

    All ranks have the same number of batches, whose sizes differ by at most one within a rank.

    Raises:
        InputError: ``batch_size`` is below 1, or there are fewer samples than ranks.
    """

    def __init__(self, size: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        if size < 1:
            raise InputError("there are no examples to make batches of: check the data set and its split")
        if batch_size < 1:
            raise InputError(f"a batch size of {batch_size} is no batch: set it to at least 1")
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
