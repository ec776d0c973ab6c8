"""Verification over all pairs: seconds and peak memory of large sets, and a small one against sorting all scores."""

import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.measuring import isolated, peak_extra, threads
from benchmarks.table import Table, mebibytes
from metriscope.evaluation.verification import scores
from metriscope.evaluation.verification.of_set import Verification
from metriscope.unit import unit_rows

FARS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
CLASSES, DIMENSION = 1000, 512
SIZES = (10_000, 60_000)
SMALL = 5_000


class Measured(NamedTuple):
    """What a set costs: seconds of the curve with its figures, and of the pass by class; bytes at the peak of both."""

    curve: float
    classes: float
    extra: int


def run(quick: bool, data_dir: Path | None) -> None:
    """Print whether a small set is exact, then a line for each size."""
    small, dimension = (500, 32) if quick else (SMALL, DIMENSION)
    _print_exactness(*isolated(exactness, small, dimension), small)
    print(f"float32 x {dimension} in {CLASSES:,} classes, {threads()} threads, a process of its own; MiB: peak extra")
    table = Table([("samples", 8), ("pairs", 14), ("s, curve", 9), ("s, classes", 11), ("MiB", 6), ("GFLOP/s", 8)])
    for size in (1_000,) if quick else SIZES:
        found = isolated(measure, size, dimension)
        pairs = size * (size - 1) // 2
        speed = f"{2 * pairs * dimension / found.curve / 1e9:.0f}"
        seconds = f"{found.curve:.1f}", f"{found.classes:.1f}"
        table.row([f"{size:,}", f"{pairs:,}", *seconds, mebibytes(found.extra), speed])


def _print_exactness(wrong: list[str], taken: float, sorting: float, size: int) -> None:
    said = "equal to the order statistics of all scores sorted" if not wrong else f"NOT equal: {', '.join(wrong)}"
    print(f"{size:,} samples: TAR at FAR 1e-2 to 1e-6 and its thresholds are {said}")
    print(f"the curve takes {taken:.2f} s, sorting {sorting:.2f} s: {sorting / taken:.1f} times as long")


def exactness(size: int, dimension: int) -> tuple[list[str], float, float]:
    """The FARs at which TAR or threshold differ from those of sorted scores; seconds of the curve and of sorting."""
    z, labels = _drawn(size, dimension)
    before = time.perf_counter()
    curve = Verification(z, labels).curve
    found = [(curve.tar_at(far), curve.threshold_at(far)) for far in FARS]
    between = time.perf_counter()
    unit = unit_rows(z.double())
    left, right = torch.triu_indices(size, size, 1)
    cosines = ((unit @ unit.T)[left, right] * scores.GRID).round()
    same = labels[left] == labels[right]
    positive, negative = cosines[same], cosines[~same].sort(descending=True).values
    wrong = []
    for far, (tar, threshold) in zip(FARS, found, strict=True):
        allowed = curve.allowed(far)
        if allowed < 1:
            continue
        above = torch.cat([positive, negative])[torch.cat([positive, negative]) > negative[allowed]]
        exact = float((positive > negative[allowed]).double().mean())
        if tar != exact or threshold * scores.GRID != float(above.min()):
            wrong.append(f"{far:g}")
    return wrong, between - before, time.perf_counter() - between


def measure(size: int, dimension: int) -> Measured:
    """What all figures of a set cost."""
    z, labels = _drawn(size, dimension)
    seconds: list[float] = []

    def work() -> None:
        begun = time.perf_counter()
        pairs = Verification(z, labels)
        curve = pairs.curve
        for far in FARS:
            curve.tar_at(far)
        _ = curve.auc, curve.eer, curve.d_prime, curve.best
        between = time.perf_counter()
        pairs.inconsistency((1e-3, 1e-1))
        seconds.extend((between - begun, time.perf_counter() - between))

    extra = peak_extra(work, lambda: Verification(z[:300], labels[:300] % 10).inconsistency((1e-2, 1e-1)))
    return Measured(seconds[0], seconds[1], extra)


def _drawn(size: int, dimension: int) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    centres = torch.randn(CLASSES, dimension, generator=source)
    labels = torch.randint(CLASSES, (size,), generator=source)
    z = torch.empty(size, dimension)
    for rows in torch.split(torch.arange(size), 4096):
        z[rows] = torch.randn(len(rows), dimension, generator=source).add_(centres[labels[rows]], alpha=0.4)
    return z, labels
