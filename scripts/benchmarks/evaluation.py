"""Retrieval metrics of a whole evaluation set against AccuracyCalculator."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.measuring import Times, faiss_installed, isolated, peak_extra, side_by_side
from benchmarks.table import Table, mebibytes, ratio, seconds
from metriscope.evaluation.retrieval import retrieval_metrics

CLASSES, DIMENSION = 10, 128
TOLERANCE = 1e-6

PAIRS = {
    "precision_at_1": "precision_at_1",
    "r_precision": "r_precision",
    "map_at_r": "mean_average_precision_at_r",
}
"""Our names and the peer's, of what both define; the peer has no Recall@K for K > 1."""

PEERS: dict[str, int | str | None] = {"peer, default k": None, "peer, k=max_bin_count": "max_bin_count"}
"""How many neighbours the peer looks at: all by default, or as many as the largest class has."""

Metrics = Callable[[Tensor, Tensor], dict[str, float]]


def run(quick: bool, data_dir: Path | None) -> None:
    """Print values and their difference, then time and memory."""
    size = 1000 if quick else 10_000
    print(f"{size} x {DIMENSION} in {CLASSES} classes; the peer has no Recall@K for K > 1; seconds: minimum (median)")
    print(f"neighbours of the peer: {'faiss' if faiss_installed() else 'CustomKNN, as faiss is not installed'}")
    metrics, times = isolated(compare, size, 1 if quick else 3)
    print("  ".join(f"{name} {value:.4f}" for name, value in metrics["ours"].items()))
    own = isolated(memory, "ours", size)
    columns = [("side", 25), ("largest difference", 18), ("s", 16), ("slower", 15)]
    table = Table([*columns, ("MiB", 6), ("more", 6), ("our share", 9)])
    table.row(["ours, with Recall@1,2,4,8", "", seconds(times["ours"]), "", mebibytes(own)])
    for peer in PEERS:
        extra = isolated(memory, peer, size)
        cells = [peer, f"{difference(metrics['ours'], metrics[peer]):.1e}", seconds(times[peer])]
        shares = f"{extra / own:.3g}x", f"{own / extra:.1%}"
        table.row([*cells, ratio(times[peer], times["ours"]), mebibytes(extra), *shares])


def sides() -> dict[str, Metrics]:
    """Everything that is compared, by name."""
    return {"ours": retrieval_metrics, **{name: partial(_accuracy, k) for name, k in PEERS.items()}}


def _accuracy(k: int | str | None, embeddings: Tensor, labels: Tensor) -> dict[str, float]:
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    search = None if faiss_installed() else CustomKNN(LpDistance(normalize_embeddings=False))
    calculator = AccuracyCalculator(include=tuple(PAIRS.values()), k=k, device=torch.device("cpu"), knn_func=search)
    found: dict[str, float] = calculator.get_accuracy(embeddings, labels)
    return {name: found[theirs] for name, theirs in PAIRS.items()}


def clustered(size: int) -> tuple[Tensor, Tensor]:
    """Unit vectors (N, D) around overlapping class centres, and labels (N,): no metric is near 0 or 1."""
    source = torch.Generator().manual_seed(0)
    labels = torch.randint(CLASSES, (size,), generator=source)
    centres = torch.randn(CLASSES, DIMENSION, generator=source)
    embeddings = centres[labels] + 2.5 * torch.randn(size, DIMENSION, generator=source)
    return torch.nn.functional.normalize(embeddings), labels


def difference(ours: dict[str, float], peer: dict[str, float]) -> float:
    """The largest difference of what both define.

    Raises:
        AssertionError: it is above 1e-6.
    """
    largest = max(abs(ours[name] - peer[name]) for name in PAIRS)
    if largest > TOLERANCE:
        raise AssertionError(f"metrics differ by {largest:.1e}: ours {ours}, the peer's {peer}")
    return largest


def compare(size: int, repeats: int) -> tuple[dict[str, dict[str, float]], dict[str, Times]]:
    """Metrics and times of every side, run in turns."""
    embeddings, labels = clustered(size)
    metrics = {name: side(embeddings, labels) for name, side in sides().items()}
    for peer in PEERS:
        difference(metrics["ours"], metrics[peer])
    work = [partial(side, embeddings, labels) for side in sides().values()]
    times = side_by_side(work, seconds=30 * (repeats - 1), at_least=repeats, warm_up=False)
    return metrics, dict(zip(sides(), times, strict=True))


def memory(side: str, size: int) -> int:
    """Bytes that one side needs at its peak; for a fresh process."""
    data, small = clustered(size), clustered(100)
    measure = sides()[side]
    return peak_extra(lambda: measure(*data), lambda: measure(*small))
