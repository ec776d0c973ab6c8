"""What all diagnostics together cost of an epoch of small images and its evaluation."""

import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.measuring import isolated
from benchmarks.stopwatch import Spans, timed_job
from benchmarks.table import Table

PRECISIONS = ("32-true", "bf16-mixed")
CHOICES = ("none", "default")


class Cost(NamedTuple):
    """Runs with ``diagnostics=none`` and as many with ``diagnostics=default``, in turns."""

    without: list[Spans]
    complete: list[Spans]


def run(quick: bool, data_dir: Path | None) -> None:
    """Print seconds with and without diagnostics, and the overhead."""
    sizes, rounds = ((500, 200), 1) if quick else ((30_000, 10_000), 6)
    print(f"small_cnn, triplet + semi-hard, batch 10 x 25, {sizes[0]} images 1 x 28 x 28 to train, {sizes[1]} to test")
    columns = [("precision", 10), ("of", 21), ("without s", 16), ("with s", 16), ("overhead of minima", 18)]
    table = Table([*columns, ("of medians", 10), ("median of pairs", 15)])
    for precision in PRECISIONS:
        cost = isolated(compare, precision, *sizes, rounds)
        rows = {
            "training": [[run.training for run in side] for side in cost],
            "evaluation": [[run.evaluation for run in side] for side in cost],
            "training + evaluation": [[run.training + run.evaluation for run in side] for side in cost],
        }
        for name, (without, complete) in rows.items():
            pairs = [b / a for a, b in zip(without, complete, strict=True)]
            low, middle = ([reduce(side) for side in (without, complete)] for reduce in (min, statistics.median))
            cells = [f"{low[0]:.2f} ({middle[0]:.2f})", f"{low[1]:.2f} ({middle[1]:.2f})"]
            overhead = [f"{r - 1:+.1%}" for r in (low[1] / low[0], middle[1] / middle[0], statistics.median(pairs))]
            table.row([precision, name, *cells, *overhead])


def compare(precision: str, train_size: int, test_size: int, rounds: int) -> Cost:
    """Epochs without and with diagnostics in turns, in one process; the first of each is a warm-up."""
    runs: dict[str, list[Spans]] = {choice: [] for choice in CHOICES}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), train_size, test_size)
        for turn in range(rounds + 1):
            for choice in CHOICES:
                overrides = [f"diagnostics={choice}", f"trainer.precision={precision}", f"study=turn{turn}"]
                paths = [f"paths.data_dir={folder}", f"paths.output_dir={folder}/outputs"]
                spans, _ = timed_job([*overrides, *paths])
                if turn:
                    runs[choice].append(spans)
    return Cost(runs["none"], runs["default"])


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
