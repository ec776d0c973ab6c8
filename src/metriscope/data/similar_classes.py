"""Batches of classes that are near one another, by a table of the neighbours of each class."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from metriscope.data.class_batches import Ints
from metriscope.data.inputs.caches import digest_of_tensor
from metriscope.data.samplers import ClassBalancedBatchSampler, Size
from metriscope.errors import InputError, RunError
from metriscope.parts import ArgumentError
from metriscope.unit import unit_rows

_BLOCK = 1024  # classes that are compared with all others at once


class SimilarClassesBatchSampler(ClassBalancedBatchSampler):
    """Batches of P classes that are near one another, with K samples each; an epoch holds every sample at least once.

    The dynamic similarity sampling of Sample4Geo (Deuser et al., arXiv:2303.11851, read in its code) with classes in
    the place of single items. A batch begins with a class that is drawn; its ``select / 2`` nearest classes
    follow, then as many drawn from its further neighbours, each if it has samples left in this epoch; then the next
    class is drawn, until there are P. Groups of K samples, topping up and the number of batches are those of
    :class:`ClassBalancedBatchSampler`, so a last batch is completed, where the published code drops it, and a class
    with as many groups left as batches is never put off.

    Without a table, as in the first epochs, and where a batch holds all classes, batches are those of
    :class:`ClassBalancedBatchSampler`, draw for draw. The table is made from embeddings of the training part by
    :class:`metriscope.callbacks.class_neighbors.ClassNeighbors`, which also keeps it in the checkpoint.

    An epoch costs O(groups * select + T C) on the host, T the number of batches; the table C x ``neighbors`` ints.

    Args:
        labels, batch_size, classes_per_batch, samples_per_class, seed, rank, world_size: as of
            :class:`ClassBalancedBatchSampler`.
        neighbors: classes in the table for each class; None for 4 P. At most all others.
        select: neighbours that a drawn class brings into its batch, half of them the nearest; None for P / 2.
        first_epoch: the epoch, from 0, that first has a table.
        refresh_every_n_epochs: epochs from one table to the next.

    Raises:
        InputError: P or K exceeds the data, or a batch would be empty.
    """

    def __init__(
        self,
        labels: Tensor,
        batch_size: Size = 256,
        classes_per_batch: Size | None = None,
        samples_per_class: Size | None = None,
        neighbors: Size | None = None,
        select: Size | None = None,
        first_epoch: Annotated[int, Field(ge=0)] = 1,
        refresh_every_n_epochs: Size = 1,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(labels, batch_size, classes_per_batch, samples_per_class, seed, rank, world_size)
        others = len(self._counts) - 1
        self.neighbors = min(others, 4 * self.classes_per_batch if neighbors is None else neighbors)
        self.select = min(self.neighbors, max(1, self.classes_per_batch // 2) if select is None else select)
        self.first_epoch = first_epoch
        self.refresh_every_n_epochs = refresh_every_n_epochs
        self.table: Ints | None = None

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        super().check(arguments)
        select, neighbors = arguments.get("select"), arguments.get("neighbors")
        if select is not None and neighbors is not None and select > neighbors:
            raise ArgumentError("select", select, f"there are neighbors={neighbors} to select from")

    @property
    def has_choice(self) -> bool:
        """Whether a batch does not hold all classes anyway."""
        return len(self._counts) > self.classes_per_batch

    @property
    def classes(self) -> Tensor:
        """int64 (N,): the class of each example, numbered among those that have samples."""
        return torch.from_numpy(self._labels)

    @property
    def data(self) -> str:
        """What a table holds for: a hash of the classes of all examples."""
        return digest_of_tensor(self.classes)

    def due(self, epoch: int) -> bool:
        """Whether a table is to be made before this epoch."""
        since = epoch - self.first_epoch
        return self.has_choice and since >= 0 and since % self.refresh_every_n_epochs == 0

    def use(self, table: Tensor, data: str) -> None:
        """Draws by this table from the next iteration on.

        Args:
            table: int32 (C, ``neighbors``), see :func:`nearest_classes`.
            data: as :attr:`data`, of those that the table was made for.

        Raises:
            InputError: it is of other classes than those of the training part.
        """
        if data != self.data or table.shape != (len(self._counts), self.neighbors):
            rows, columns = table.shape
            raise InputError(
                f"the checkpoint has a table of {columns} neighbours of {rows} classes of other data, where "
                f"sampler=similar_classes needs {self.neighbors} of {len(self._counts)}: set resume=never"
            )
        self.table = table.numpy().astype(np.int64)

    def plan(self, source: torch.Generator) -> Ints:
        if self.table is None or not self.has_choice:
            return super().plan(source)
        items = np.repeat(np.arange(len(self._groups)), self._groups)
        order = items[torch.randperm(len(items), generator=source).numpy()]

        def shuffled(values: Ints) -> Ints:
            chosen: Ints = values[torch.randperm(len(values), generator=source).numpy()]
            return chosen

        plan: Ints = plan_of_similar_classes(
            self._groups, self.table, self.classes_per_batch, self.select, self.total(), order, shuffled
        )
        return shuffled(plan)


def nearest_classes(sums: Tensor, count: int) -> Tensor:
    """For each class its ``count`` nearest others by the cosine of class means, nearest first.

    Args:
        sums: (C, D), the sum of the embeddings of each class; its length does not matter.
        count: at least 1, at most C - 1.

    Returns:
        int32 (C, count). O(C^2 D) time, 1024 x C memory.

    Raises:
        RunError: an embedding is not finite.
    """
    if not bool(torch.isfinite(sums).all()):
        raise RunError(
            "sampler=similar_classes: some embeddings of the training part are not finite; lower optimizer.lr"
        )
    means = unit_rows(sums).float()
    found = []
    for first in range(0, len(means), _BLOCK):
        similar = means[first : first + _BLOCK] @ means.T
        similar.diagonal(first).fill_(-torch.inf)
        found.append(similar.topk(count, dim=1).indices.int())
    return torch.cat(found)


def plan_of_similar_classes(
    groups: Ints, table: Ints, width: int, select: int, total: int, order: Ints, shuffled: Callable[[Ints], Ints]
) -> Ints:
    """The classes of each batch, (total, width), distinct within a row; class c occurs at least ``groups[c]`` times.

    Args:
        groups: (C,), how often each class has to occur: at most ``total`` times, and ``total * width`` times in all.
        table: (C, R), the neighbours of each class, nearest first.
        width: P, fewer than C.
        select: how many neighbours follow a drawn class, as far as they are free; half of them the nearest.
        total: T.
        order: in which classes are drawn, each as often as it has to occur.
        shuffled: puts neighbours beyond the nearest in random order.
    """
    left = groups.copy()
    waiting = deque(order.tolist())
    near = (select + 1) // 2
    rows: list[list[int]] = []
    for batches in range(total, 0, -1):
        row: list[int] = []
        # Those in every batch from here on, or else they would not occur often enough.
        needed = set(np.flatnonzero(left == batches).tolist())
        put_off = []

        def take(one: int, row: list[int] = row, needed: set[int] = needed) -> bool:
            room = width - len(row) - len(needed)
            if left[one] == 0 or one in row or not (room > 0 or one in needed):
                return False
            row.append(one)
            needed.discard(one)
            left[one] -= 1
            return True

        while waiting and len(row) < width:
            drawn = waiting.popleft()
            if not take(drawn):
                # One that a neighbour has brought into a batch is done with; one without room in this batch waits.
                put_off += [drawn] if left[drawn] else []
                continue
            neighbors = table[drawn]
            for one in neighbors[:near].tolist():
                take(one)
            for one in shuffled(neighbors[near:])[: select - near].tolist():
                take(one)
        waiting.extendleft(reversed(put_off))
        rows.append(_completed(row, table, width, shuffled))
    return np.array(rows, dtype=np.int64).reshape(total, width)


def _completed(row: list[int], table: Ints, width: int, shuffled: Callable[[Ints], Ints]) -> list[int]:
    """A batch filled with neighbours of its classes, and then with others, that have no samples left."""
    if len(row) == width:
        return row
    near = table[row].T.ravel().tolist()
    others = shuffled(np.arange(len(table))).tolist()
    return list(dict.fromkeys([*row, *near, *others]))[:width]
