"""Large batches: peak memory and time of a step, beside the memory that it may take."""

import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.comparing import batch, built, step, value_of
from benchmarks.measuring import isolated, peak_extra
from benchmarks.table import Table, mebibytes

MB = 10**6


class Case(NamedTuple):
    """A loss on a batch (B, D), and how many bytes it may take."""

    words: tuple[str, ...]
    size: int
    dimension: int
    layout: str
    limit: int


TRIPLET = ("loss=triplet", "miner=all")
CASES = (
    Case(TRIPLET, 8192, 128, "10 classes", 200 * MB),
    Case(TRIPLET, 20_000, 8, "10 classes", 400 * MB),
    Case(("loss=infonce", "miner=all"), 65_536, 128, "4 per class", 1500 * MB),
    Case(("loss=supcon", "miner=all"), 65_536, 128, "4 per class", 1500 * MB),
    Case(TRIPLET, 32_768, 128, "10 classes", 2000 * MB),
)


def run(quick: bool, data_dir: Path | None) -> None:
    """Print a line for each case."""
    print("float32; a step from embeddings to their gradient, in a process of its own; MiB: peak extra")
    columns = [("loss", 22), ("classes", 11), ("batch", 6), ("dimensions", 10), ("MiB", 6), ("limit MiB", 9)]
    table = Table([*columns, ("s", 7)], names=2)
    for case in CASES:
        measured = case._replace(size=256 if case.size < 2**15 else 512) if quick else case
        seconds, extra = isolated(measure, measured)
        shape = f"{measured.size:,}", str(case.dimension)
        words = " ".join(word.removeprefix("loss=") for word in case.words)
        table.row([words, case.layout, *shape, mebibytes(extra), mebibytes(case.limit), f"{seconds:.2f}"])


def measure(case: Case) -> tuple[float, int]:
    """Seconds and bytes at the peak of one step; for a fresh process."""
    raw, labels = batch(case.size, case.layout, dimension=case.dimension)
    small = batch(40, case.layout, dimension=case.dimension)
    loss = value_of(built(case.words, int(labels.max()) + 1, case.dimension))
    taken = 0.0

    def work() -> None:
        nonlocal taken
        before = time.perf_counter()
        step(loss, raw, labels)
        taken = time.perf_counter() - before

    extra = peak_extra(work, lambda: step(loss, *small))
    return taken, extra
