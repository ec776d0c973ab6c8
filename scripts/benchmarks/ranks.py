"""A gathered batch that several processes judge together: what it costs each of them, and equality with one."""

import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.comparing import Agreement, batch, built, step
from benchmarks.measuring import isolated, peak_extra, use_threads
from benchmarks.table import Table, mebibytes
from metriscope.objectives.distributed import Ranks
from metriscope.objectives.samples import Moment, Spaces
from metriscope.unit import unit_rows

Result = TypeVar("Result")
Measured = TypeVar("Measured", int, float)
Work = Callable[[], object]

LOSSES = (
    ("loss=triplet", "miner=all"),
    ("loss=supcon", "miner=all"),
    ("loss=multi_similarity", "miner=multi_similarity"),
    ("loss=contrastive", "miner=all", "loss.reduction=mean_active"),
)
SIMULATED = (2, 4, 8, 16, 32, 64)
PROCESSES = (1, 2, 4)
TOLERANCE = 1e-6
SIZE, LARGE, LAYOUT = 2048, 4096, "4 per class"
"""Samples of a batch whose ranks are simulated, and of one that processes share; and their classes."""


class _Meeting:
    """Where ranks that are threads add up tensors; one of them computes at a time."""

    def __init__(self, count: int) -> None:
        self.turn = threading.Lock()
        self.barrier = threading.Barrier(count, action=self._sum)
        self.brought: list[Tensor] = [torch.empty(0)] * count
        self.total = torch.empty(0)

    def _sum(self) -> None:
        self.total = self.brought[0].clone()
        for other in self.brought[1:]:
            self.total += other

    def reduce(self, rank: int, tensor: Tensor) -> None:
        """Replace a tensor by its sum over all ranks, once each of them has brought its own."""
        self.brought[rank] = tensor
        self.turn.release()
        try:
            self.barrier.wait()
        finally:
            self.turn.acquire()
        tensor.copy_(self.total)


def simulated(count: int, work: Callable[[Ranks], Result]) -> list[Result]:
    """What ``work`` comes to on each of so many ranks, threads of this process that take turns between their sums."""
    meeting = _Meeting(count)

    def as_rank(rank: int) -> Result:
        with meeting.turn:
            try:
                return work(Ranks(rank, count, partial(meeting.reduce, rank)))
            except BaseException:
                meeting.barrier.abort()
                raise

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(as_rank, range(count)))


class Judged(NamedTuple):
    """What a rank found, and what that took it.

    Attributes:
        value, gradient: of the loss, scalar and (B, D).
        operations: multiply-adds of matrix products.
        seconds: of its own thread.
    """

    value: Tensor
    gradient: Tensor
    operations: int
    seconds: float


def judged(objective: nn.Module, raw: Tensor, labels: Tensor, ranks: Ranks | None = None) -> Judged:
    """A step of one rank, or of one process without others, on a gathered batch (B, D)."""

    def value(leaf: Tensor, labels: Tensor) -> Tensor:
        comparison = objective.compare(Spaces.of(unit_rows(leaf), labels).samples("embedding"), Moment(), ranks)
        return objective.judge(comparison, objective.select(comparison)).output.value

    before = time.thread_time()
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: _in_place}) as counter:
        found = step(value, raw, labels)
    # A multiply-add counts as two operations there.
    return Judged(*found, counter.get_total_flops() // 2, time.thread_time() - before)


def _in_place(added: Any, first: Sequence[int], second: Sequence[int], *others: Any, **options: Any) -> int:
    """The operations of ``addmm_``, of which the counter knows nothing, by shapes."""
    return 2 * first[0] * first[1] * second[1]


def run(quick: bool, data_dir: Path | None) -> None:
    """Print a line for each loss and number of ranks."""
    size, large = (256, 256) if quick else (SIZE, LARGE)
    print(f"128 dimensions, {LAYOUT}; a step from embeddings to their gradient")
    print(f"\nbatch {size:,}, ranks simulated in one process, float64; of the busiest rank, with seconds of its thread")
    columns = [("loss", 24), ("ranks", 5), ("multiply-adds", 13), ("of one process", 14), ("x ranks", 7), ("s", 6)]
    table = Table([*columns, ("value", 8), ("gradient", 8)])
    for words in LOSSES[2:] if quick else LOSSES:
        isolated(_simulate, table, words, size, SIMULATED[:2] if quick else SIMULATED)
    print(f"\nbatch {large:,}, processes that talk by gloo, float32, one thread each; of the worst rank")
    table = Table([("loss", 24), ("processes", 9), ("ms", 7), ("of one", 7), ("MiB extra", 9), ("of one", 7)])
    for words in LOSSES[: 1 if quick else 2]:
        one = None
        for count in PROCESSES[:2] if quick else PROCESSES:
            seconds, extra = max(_together(count, words, large, _seconds)), max(_together(count, words, large, _bytes))
            one = one or (seconds, extra)
            cells = f"{seconds * 1e3:.0f}", f"{seconds / one[0]:.2f}x", mebibytes(extra), f"{extra / one[1]:.2f}x"
            table.row([_name(words), str(count), *cells])


def _name(words: Sequence[str]) -> str:
    return " ".join(word.split("=")[1] for word in (words[0], *words[2:]))


def _simulate(table: Table, words: tuple[str, ...], size: int, counts: Sequence[int]) -> None:
    use_threads(1)
    raw, labels = batch(size, LAYOUT, torch.float64)
    objective = built(words, int(labels.max()) + 1).double()
    one = judged(objective, raw, labels)
    table.row([_name(words), "1", f"{one.operations:,}", "1", "1.00", f"{one.seconds:.2f}"])
    for count in counts:
        found = simulated(count, partial(judged, objective, raw, labels))
        errors = [Agreement.of(each[:2], one[:2]) for each in found]
        value, gradient = (max(column) for column in zip(*errors, strict=True))
        if max(value, gradient) > TOLERANCE:
            raise AssertionError(f"{_name(words)}, {count} ranks: {value:.1g} and {gradient:.1g} off")
        operations, seconds = max(each.operations for each in found), max(each.seconds for each in found)
        share = operations / one.operations
        cells = f"{operations:,}", f"{share:.4f}", f"{share * count:.2f}", f"{seconds:.3f}"
        table.row(["", str(count), *cells, f"{value:.0e}", f"{gradient:.0e}"])


def _together(
    count: int, words: tuple[str, ...], size: int, measure: Callable[[Work, Work], Measured]
) -> list[Measured]:
    """What a step takes on each of so many fresh processes."""
    # glibc keeps freed memory, how much differs from one process to the next; of this size it gives all of it back.
    with patch.dict(os.environ, {"MALLOC_MMAP_THRESHOLD_": "65536"} if measure is _bytes else {}):
        pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))
        with tempfile.TemporaryDirectory() as folder, pool:
            place = f"file://{folder}/store"
            work = [pool.submit(_as_process, rank, count, place, words, size, measure) for rank in range(count)]
            return [one.result() for one in work]


def _as_process(
    rank: int, count: int, place: str, words: tuple[str, ...], size: int, measure: Callable[[Work, Work], Measured]
) -> Measured:
    use_threads(1)
    if count > 1:
        dist.init_process_group("gloo", init_method=place, rank=rank, world_size=count)
    raw, labels = batch(size, LAYOUT)
    objective, rows = built(words, int(labels.max()) + 1), slice(size * rank // count, size * (rank + 1) // count)
    own, small = (raw[rows].clone(), labels[rows].clone()), batch(64, LAYOUT)

    def value(raw: Tensor, labels: Tensor) -> Tensor:
        return objective(Spaces.of(unit_rows(raw), labels)).output.value

    found = measure(lambda: step(value, *own), lambda: step(value, *small))
    if count > 1:
        dist.destroy_process_group()
    return found


def _bytes(work: Work, warm_up: Work) -> int:
    return peak_extra(work, warm_up)


def _seconds(work: Work, warm_up: Work) -> float:
    warm_up()
    taken = []
    for _ in range(3):
        before = time.perf_counter()
        work()
        taken.append(time.perf_counter() - before)
    return min(taken)
