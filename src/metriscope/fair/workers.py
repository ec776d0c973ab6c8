"""Persistent worker processes, one task each at a time; a process that dies names its task. Imports no torch."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from typing import Any, Generic, NamedTuple, TypeVar

from metriscope import environment
from metriscope.signals import answered_by, raise_interrupt

_T = TypeVar("_T")
_GRACE_SECONDS = 60
"""How long a run may take to save its state when it is asked to stop."""
_TURN_SECONDS = 1.0


class Task(NamedTuple, Generic[_T]):
    """What a worker does.

    Attributes:
        key: tells tasks apart.
        call: a function of a module, and its arguments.
    """

    key: _T
    call: tuple[Callable[..., Any], tuple[Any, ...]]


class Workers:
    """Processes that live as long as the comparison.

    Args:
        count: how many; 0: tasks are done in this process, one after the other.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._slots: list[ProcessPoolExecutor | None] = [None] * max(1, count)

    def run(self, next_task: Callable[[], Task[_T] | None]) -> Iterator[tuple[_T, Any]]:
        """Do tasks as long as there are any; yields key and result of each in the order in which they end.

        Args:
            next_task: gives the next task; None where there is none now. Asked again after each result.

        A task whose process died twice has :class:`Died` as its result.

        Raises:
            whatever a task raises.
        """
        at_work: dict[Future[Any], tuple[int, Task[_T], int]] = {}
        while True:
            busy = {slot for slot, _, _ in at_work.values()}
            for slot in range(len(self._slots)):
                if slot in busy:
                    continue
                task = next_task()
                if task is None:
                    break
                at_work[self._submit(slot, task)] = slot, task, 1
            if not at_work:
                return
            # In turns, as signals reach Python only between waits.
            done, _ = wait(at_work, timeout=_TURN_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                slot, task, tries = at_work.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    self._slots[slot] = None
                    if tries < 2:
                        at_work[self._submit(slot, task)] = slot, task, tries + 1
                        continue
                    result = Died()
                yield task.key, result

    def _submit(self, slot: int, task: Task[_T]) -> "Future[Any]":
        function, arguments = task.call
        if self.count == 0:
            done: Future[Any] = Future()
            try:
                done.set_result(function(*arguments))
            except Exception as error:
                done.set_exception(error)
            return done
        pool = self._slots[slot]
        if pool is None:
            pool = self._slots[slot] = ProcessPoolExecutor(
                1, multiprocessing.get_context("spawn"), _begin, (self.count,)
            )
        try:
            return pool.submit(function, *arguments)
        except BrokenProcessPool:  # it died while it waited
            self._slots[slot] = None
            return self._submit(slot, task)

    def stop(self, grace: float = _GRACE_SECONDS) -> None:
        """End all processes: a run saves its state first, anything else ends at once."""
        processes = [process for pool in self._slots if pool for process in dict(pool._processes or {}).values()]
        for pool in self._slots:
            if pool:
                pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            with suppress(OSError, ValueError):
                process.terminate()
        until = time.monotonic() + grace
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                process.kill()
        self._slots = [None] * len(self._slots)


class Died:
    """The result of a task whose process died, and died again in a second one."""


@contextmanager
def working(count: int) -> Iterator[Workers]:
    """Workers that end with the block.

    Raises:
        KeyboardInterrupt: a signal asked to stop.
    """
    environment.share_cores()
    workers = Workers(count)
    try:
        with answered_by(raise_interrupt):
            yield workers
    finally:
        workers.stop()


def _begin(count: int) -> None:
    """Prepare a worker: threads, signals, and an end together with its parent."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // count)))
    environment.prepare()
    # Ctrl-C reaches all processes of a terminal: the parent asks the workers to stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)
