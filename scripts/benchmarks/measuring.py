"""How to measure: side by side in one process for time, alone in a fresh process for memory."""

import gc
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")

_PROC = Path("/proc/self")
# A fork server that has these imported, and has never computed, makes fresh processes cheap.
_PRELOADED = ["metriscope.build.run", "metriscope.ending", "metriscope.cli", "pytorch_metric_learning.losses"]
_PACKAGES = ("torch", "torchvision", "pytorch-lightning", "pytorch-metric-learning", "faiss-cpu", "numpy")
MIB = 2**20
DISTURBED = 0.05
"""Share of a turn in which processes waited for a CPU, above which it is not counted."""


class Times(NamedTuple):
    """Seconds over several repeats; ``quiet`` where no other process took the CPU meanwhile."""

    minimum: float
    median: float
    quiet: bool = True


def side_by_side(
    sides: Sequence[Callable[[], object]], *, seconds: float, at_least: int = 3, at_most: int = 50, warm_up: bool = True
) -> list[Times]:
    """The times of each side, run in turns so that a busy moment of the machine hits all of them.

    Turns during which processes waited for a CPU are left out where enough others are found in time.

    Args:
        sides: what to time, with no more threads than there are cores.
        seconds: to spend on turns, beyond ``at_least`` quiet ones; on a busy machine up to four times as long.
        warm_up: run each side once untimed first.
    """
    for side in sides if warm_up else ():
        side()
    turns: list[tuple[float, ...]] = []
    quiet: list[tuple[float, ...]] = []
    started = time.perf_counter()
    while len(turns) < at_least or len(quiet) < at_most:
        spent = time.perf_counter() - started
        if len(turns) >= at_least and spent > (seconds if len(quiet) >= at_least else 4 * seconds):
            break
        waited, before = stalled(), time.perf_counter()
        turn = tuple(_timed(side) for side in sides)
        turns.append(turn)
        if stalled() - waited <= DISTURBED * (time.perf_counter() - before):
            quiet.append(turn)
    return [Times(min(taken), statistics.median(taken), bool(quiet)) for taken in zip(*(quiet or turns), strict=True)]


def _timed(side: Callable[[], object]) -> float:
    before = time.perf_counter()
    side()
    return time.perf_counter() - before


def stalled() -> float:
    """Seconds so far in which any process of the machine waited for a CPU; 0 where the system does not tell."""
    try:
        return int(Path("/proc/pressure/cpu").read_text().split("total=")[1].split()[0]) / 1e6
    except OSError:
        return 0.0


def isolated(function: Callable[..., Result], *arguments: Any) -> Result:
    """``function(*arguments)`` in a fresh process, with as many torch threads as every other one.

    Raises:
        BrokenProcessPool: the process was killed, such as for want of memory.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    setting = threads(), multiprocessing.get_start_method()
    with ProcessPoolExecutor(1, mp_context=context, initializer=_settle, initargs=setting) as pool:
        return pool.submit(function, *arguments).result()


def _settle(thread_count: int, start_method: str) -> None:
    use_threads(thread_count)
    # What the peer says of its own code would tear the tables apart.
    warnings.filterwarnings("ignore", module="pytorch_metric_learning")
    # DataLoader workers start as they would for a user, not from the fork server.
    multiprocessing.set_start_method(start_method, force=True)


def threads() -> int:
    """Threads that every side computes with."""
    return int(os.environ.get("OMP_NUM_THREADS", 0)) or len(os.sched_getaffinity(0))


def use_threads(count: int) -> None:
    """Sets torch, and faiss where it is installed, to ``count`` threads."""
    import torch

    torch.set_num_threads(count)
    if faiss_installed():
        import faiss

        faiss.omp_set_num_threads(count)


def faiss_installed() -> bool:
    """Whether the peer can search with faiss."""
    try:
        metadata.version("faiss-cpu")
    except metadata.PackageNotFoundError:
        return False
    return True


def peak_extra(work: Callable[[], object], warm_up: Callable[[], object]) -> int:
    """Bytes of resident memory that ``work`` holds at its peak beyond what the process had before.

    Meant for a fresh process: memory that earlier work freed but kept would be used without being seen.

    Args:
        warm_up: the same work at a trifling size, for what is loaded and allocated only once.
    """
    warm_up()
    gc.collect()
    before = _reset_peak()
    work()
    return peak_resident() - before


def peak_resident() -> int:
    """The most bytes this process has held resident since it began, or since the last reset of the peak."""
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _reset_peak() -> int:
    try:
        (_PROC / "clear_refs").write_text("5")
        return _status("VmRSS")
    except OSError:  # not Linux: an earlier, higher peak would hide part of the next
        return peak_resident()


def _status(field: str) -> int:
    lines = (_PROC / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def header() -> str:
    """Machine, versions and threads."""
    versions = [f"{name} {_version(name)}" for name in _PACKAGES]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return "\n".join(
        [
            f"CPU {_cpu()}, {os.cpu_count()} cores; {threads()} threads on every side"
            f" (OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', 'unset')}); load average {load}",
            "~ behind a ratio: other processes were busy all along, so the ratio is not to be trusted",
            f"Python {platform.python_version()}, {', '.join(versions)}",
        ]
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
