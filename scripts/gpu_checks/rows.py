"""Lines of the table of ``scripts/gpu_check.py``, and how they are measured."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

MEMORY = "out of memory"


class Row(NamedTuple):
    """A line.

    Attributes:
        case: what was done.
        section: filled in by the command.
        seconds: of one repetition, the fastest; None where time says nothing.
        mebibytes: the peak beside what was there before; None on a CPU.
        error: the largest difference from what is right, relative to its largest entry.
        ok: whether it is as it has to be; None where nothing is demanded.
        note: whatever else there is to say.
    """

    case: str
    section: str = ""
    seconds: float | None = None
    mebibytes: float | None = None
    error: float | None = None
    ok: bool | None = None
    note: str = ""


def line(row: Row) -> str:
    time_taken = "" if row.seconds is None else f"{row.seconds * 1000:,.2f} ms"
    memory = "" if row.mebibytes is None else f"{row.mebibytes:,.0f} MiB"
    error = "" if row.error is None else f"{row.error:.1e}"
    verdict = {True: "ok", False: "BAD", None: ""}[row.ok]
    return f"{row.case:52} {time_taken:>16} {memory:>12} {error:>9} {verdict:4} {row.note}".rstrip()


def measured(device: torch.device, work: Callable[[], Any], repeats: int = 3) -> tuple[float, float | None, Any]:
    """Seconds of the fastest of some repetitions after one for warming up, MiB at the peak, and the last result."""
    result = work()
    if device.type == "cuda":
        # What the result of the first repetition holds is no part of the next one's peak.
        result = None
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        result = work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(time.perf_counter() - begun)
    peak = (torch.cuda.max_memory_allocated(device) - before) / 2**20 if device.type == "cuda" else None
    return min(taken), peak, result


def is_full(error: Exception) -> bool:
    """Whether an exception says that memory is short, on a GPU or beside it."""
    words = str(error)
    short = any(phrase in words for phrase in ("not enough memory", "allocate memory", "out of memory"))
    return short or isinstance(error, torch.cuda.OutOfMemoryError | MemoryError)


def apart(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest difference, relative to the largest entry of what is wanted."""
    found, wanted = found.detach().double().cpu(), wanted.detach().double().cpu()
    scale = float(wanted.abs().max()) if wanted.numel() else 0.0
    return float((found - wanted).abs().max()) / (scale or 1.0) if wanted.numel() else 0.0
