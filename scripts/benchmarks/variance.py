"""All measures of variance of large sets with many classes: seconds and peak memory."""

import time
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.measuring import isolated, peak_extra
from benchmarks.table import Table, mebibytes
from metriscope.diagnostics.variance import VarianceMetrics

BATCH = 512


class Case(NamedTuple):
    """A set (N, D) in C classes."""

    size: int
    dimension: int
    classes: int


CASES = {"SOP's test half": Case(60_502, 512, 11_316), "more classes": Case(200_000, 512, 100_000)}


def run(quick: bool, data_dir: Path | None) -> None:
    """Print a line for each set."""
    print(f"float32 in batches of {BATCH}, classes in random order, in a process of its own; MiB: peak extra")
    table = Table([("set", 16), ("samples", 8), ("dimensions", 10), ("classes", 8), ("MiB", 6), ("s", 7)])
    for name, case in CASES.items():
        measured = Case(1000, 16, 300) if quick else case
        seconds, extra = isolated(measure, measured)
        shape = f"{measured.size:,}", str(measured.dimension), f"{measured.classes:,}"
        table.row([name, *shape, mebibytes(extra), f"{seconds:.1f}"])


def measure(case: Case) -> tuple[float, int]:
    """Seconds of all updates and the measures, without those of making batches, and bytes at the peak."""
    taken = 0.0

    def work() -> None:
        nonlocal taken
        taken = _measured(case)

    extra = peak_extra(work, lambda: _measured(Case(BATCH, case.dimension, 10)))
    return taken, extra


def _measured(case: Case) -> float:
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(case.size) % case.classes
    metric, taken = VarianceMetrics(case.classes), 0.0
    for some in torch.split(labels[torch.randperm(case.size, generator=source)], BATCH):
        raw = torch.randn(len(some), case.dimension, generator=source)
        before = time.perf_counter()
        metric.update(raw, raw, some)
        taken += time.perf_counter() - before
    before = time.perf_counter()
    metric.compute()
    return taken + time.perf_counter() - before
