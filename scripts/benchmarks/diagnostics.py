"""What all diagnostics together cost of an epoch of small images and its evaluation."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.measuring import DISTURBED, isolated, stalled
from benchmarks.stopwatch import Spans, timed_job
from benchmarks.table import Table

PRECISIONS = ("32-true", "bf16-mixed")
CHOICES = ("none", "default")
SPANS: dict[str, Callable[[Spans], float]] = {
    "training": lambda run: run.training,
    "evaluation": lambda run: run.evaluation,
    "training + evaluation": lambda run: run.training + run.evaluation,
}


class Pair(NamedTuple):
    """A run with ``diagnostics=none``, then one with ``diagnostics=default``; ``quiet`` as in :class:`Times`."""

    without: Spans
    complete: Spans
    quiet: bool


def run(quick: bool, data_dir: Path | None) -> None:
    """Print seconds with and without diagnostics, and the overhead."""
    sizes, rounds = ((500, 200), 1) if quick else ((30_000, 10_000), 6)
    print(f"small_cnn, triplet + semi-hard, batch 10 x 25, {sizes[0]} images 1 x 28 x 28 to train, {sizes[1]} to test")
    columns = [("precision", 10), ("of", 21), ("without s", 16), ("with s", 16), ("overhead of minima", 18)]
    table = Table([*columns, ("of medians", 10), ("median of pairs", 15)], names=2)
    for precision in PRECISIONS:
        pairs = isolated(compare, precision, *sizes, rounds)
        quiet = [pair for pair in pairs if pair.quiet]
        for name, seconds in SPANS.items():
            _row(table, [precision, name], [(seconds(p.without), seconds(p.complete)) for p in quiet or pairs])
        print(f"{len(quiet)} of {len(pairs)} pairs were not disturbed by other processes")


def _row(table: Table, names: list[str], pairs: list[tuple[float, float]]) -> None:
    without, complete = zip(*pairs, strict=True)
    low, middle = ([reduce(side) for side in (without, complete)] for reduce in (min, statistics.median))
    cells = [f"{low[side]:.2f} ({middle[side]:.2f})" for side in (0, 1)]
    typical = statistics.median(b / a for a, b in pairs)
    table.row([*names, *cells, *(f"{r - 1:+.1%}" for r in (low[1] / low[0], middle[1] / middle[0], typical))])


def compare(precision: str, train_size: int, test_size: int, rounds: int) -> list[Pair]:
    """Epochs without and with diagnostics in turns, in one process; the first pair is a warm-up."""
    pairs = []
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), train_size, test_size)
        paths = [f"paths.data_dir={folder}", f"paths.output_dir={folder}/outputs"]
        for turn in range(rounds + 1):
            common = [f"trainer.precision={precision}", f"study=turn{turn}", *paths]
            waited, before = stalled(), time.perf_counter()
            without, complete = (timed_job([f"diagnostics={choice}", *common])[0] for choice in CHOICES)
            quiet = stalled() - waited <= DISTURBED * (time.perf_counter() - before)
            pairs.append(Pair(without, complete, quiet))
    return pairs[1:]


def write_images(folder: Path, train_size: int, test_size: int) -> None:
    """Noisy pictures of 10 classes, in MNIST's idx files."""
    source = torch.Generator().manual_seed(0)
    patterns = torch.rand(10, 28, 28, generator=source)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for half, size in (("train", train_size), ("t10k", test_size)):
        labels = (torch.arange(size) % 10).to(torch.uint8)
        noise = torch.rand(size, 28, 28, generator=source)
        images = ((0.2 * patterns[labels.long()] + 0.8 * noise) * 255).to(torch.uint8)
        _write_idx(raw / f"{half}-images-idx3-ubyte", images)
        _write_idx(raw / f"{half}-labels-idx1-ubyte", labels)


def _write_idx(path: Path, data: Tensor) -> None:
    sizes = b"".join(size.to_bytes(4, "big") for size in data.shape)
    path.write_bytes(bytes([0, 0, 8, data.ndim]) + sizes + data.numpy().tobytes())
