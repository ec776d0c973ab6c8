"""What all diagnostics together cost of an epoch of small images and its evaluation."""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks import pair_pass
from benchmarks.measuring import DISTURBED, isolated, stalled
from benchmarks.stopwatch import Span, Spans, timed_job
from benchmarks.table import Table

PRECISIONS = ("32-true", "bf16-mixed")
CHOICES = ("none", "default")
EPOCH = 60_000
"""Training images of the epoch that the cost is told for; shorter ones are measured, in turns."""


class Pair(NamedTuple):
    """A run with ``diagnostics=none``, then one with ``diagnostics=default``; ``quiet`` as in :class:`Times`."""

    without: Spans
    complete: Spans
    quiet: bool


def run(quick: bool, data_dir: Path | None) -> None:
    """Print what the pass over pairs costs a loss, then seconds with and without diagnostics, and the overhead."""
    pair_pass.run(quick)
    train_size, test_size, rounds = (500, 200, 2) if quick else (7500, 10_000, 20)
    print(f"small_cnn, triplet + semi-hard, batch 10 x 25, 28 x 28 pixels; {rounds} pairs of runs in turns, each of")
    print(
        f"{train_size} images to train and {test_size} to test; the whole: training scaled to {EPOCH} images, and test"
    )
    columns = [("precision", 10), ("of", 10), ("without s", 14), ("with s", 14), ("overhead of minima", 18)]
    columns += [("of pairs", 8), ("CPU without s", 14), ("with s", 14), ("overhead of pairs", 17)]
    table = Table(columns, names=2)
    for precision in PRECISIONS:
        pairs = isolated(compare, precision, train_size, test_size, rounds)
        quiet = [pair for pair in pairs if pair.quiet]
        parts: dict[str, Callable[[Spans], Span]] = {
            "training": lambda spans: spans.training,
            "evaluation": lambda spans: spans.evaluation,
            "the whole": lambda spans: _whole(spans, EPOCH / train_size),
        }
        for name, part in parts.items():
            wall = _overhead([(part(pair.without).wall, part(pair.complete).wall) for pair in quiet or pairs])
            cpu = _overhead([(part(pair.without).cpu, part(pair.complete).cpu) for pair in pairs])
            table.row([precision, name, *wall, cpu[0], cpu[1], cpu[3]])
        print(f"{len(quiet)} of {len(pairs)} pairs were not disturbed by other processes; they make the first times")


def _whole(spans: Spans, scale: float) -> Span:
    return Span(*(scale * training + test for training, test in zip(spans.training, spans.evaluation, strict=True)))


def _overhead(pairs: list[tuple[float, float]]) -> list[str]:
    """``minimum (median)`` without and with, the overhead of the minima, and the median overhead of the pairs."""
    sides = list(zip(*pairs, strict=True))
    ratios = min(sides[1]) / min(sides[0]), statistics.median(b / a for a, b in pairs)
    shown = [f"{min(side):.2f} ({statistics.median(side):.2f})" for side in sides]
    return [*shown, *(f"{ratio - 1:+.1%}" for ratio in ratios)]


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
