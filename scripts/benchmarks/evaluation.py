"""Retrieval metrics of a whole evaluation set against AccuracyCalculator and against faiss, and how they grow."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.measuring import Times, faiss_installed, isolated, peak_extra, side_by_side
from benchmarks.table import Table, mebibytes, ratio, seconds
from metriscope.evaluation.retrieval import retrieval_metrics

TOLERANCE = 1e-6
SWAPS = 3
"""Neighbours on either side of rank R that the peer's float32 may take for each other, as near as they are."""
RECALL_AT = (1, 2, 4, 8)
GROWTH = (10_000, 20_000, 40_000, 80_000)

PAIRS = {
    "precision_at_1": "precision_at_1",
    "r_precision": "r_precision",
    "map_at_r": "mean_average_precision_at_r",
}
"""Our names and the peer's, of what both define; the peer has no Recall@K for K > 1."""

PEERS: dict[str, int | str | None] = {"peer, default k": None, "peer, k=max_bin_count": "max_bin_count"}
"""How many neighbours the peer looks at: all by default, or as many as the largest class has."""

Metrics = Callable[[Tensor, Tensor], dict[str, float]]


class Layout(NamedTuple):
    """Size, dimension and number of classes of a set of embeddings."""

    size: int
    dimension: int
    classes: int


def run(quick: bool, data_dir: Path | None, against: str | None = None) -> None:
    """Print values and their difference, then time and memory; or times of another commit beside this one's."""
    if against:
        from benchmarks import evaluation_by_commit

        evaluation_by_commit.run(quick, against)
        return
    print("the peer has no Recall@K for K > 1; seconds: minimum (median)")
    print(f"neighbours of the peer: {'faiss' if faiss_installed() else 'CustomKNN, as faiss is not installed'}")
    for layout in (Layout(10_000, 128, 10), Layout(5924, 512, 100)):
        _against_the_peer(layout._replace(size=layout.size // 10) if quick else layout, 1 if quick else 2)
    _against_faiss(Layout(4000, 64, 100) if quick else Layout(60_000, 512, 100))
    _growth([size // 10 for size in GROWTH] if quick else GROWTH)


def _against_the_peer(layout: Layout, repeats: int) -> None:
    print(f"\n{layout.size} x {layout.dimension} in {layout.classes} classes: Recall@K, MRR, R-precision, MAP@R")
    metrics, times = isolated(compare, layout, repeats)
    print("  ".join(f"{name} {value:.4f}" for name, value in metrics["ours"].items()))
    own = isolated(memory, "ours", layout)
    columns = [("side", 25), ("largest difference", 18), ("s", 16), ("slower", 15)]
    table = Table([*columns, ("MiB", 6), ("more", 6), ("our share", 9)])
    table.row(["ours, with Recall@1,2,4,8", "", seconds(times["ours"]), "", mebibytes(own)])
    for peer in PEERS:
        extra = isolated(memory, peer, layout)
        gap = difference(metrics["ours"], metrics[peer], _tolerance(layout))
        cells = [peer, f"{gap:.1e}", seconds(times[peer])]
        shares = f"{extra / own:.3g}x", f"{own / extra:.1%}"
        table.row([*cells, ratio(times[peer], times["ours"]), mebibytes(extra), *shares])


def _against_faiss(layout: Layout) -> None:
    print(f"\n{layout.size} x {layout.dimension}, leave-one-out Recall@1,2,4,8 against faiss.IndexFlatL2", flush=True)
    if not faiss_installed():
        print("not measured: faiss-cpu is not installed; pip install faiss-cpu")
        return
    recalls, different, times = isolated(compare_with_faiss, layout, 2)
    print("  ".join(f"{name} {value:.6f}" for name, value in recalls["ours"].items()))
    print(f"{different} of {layout.size} lists of 8 neighbours differ, by distances that float32 cannot tell apart")
    table = Table([("side", 25), ("largest difference", 18), ("s", 16), ("slower", 15), ("MiB", 6)])
    own = mebibytes(isolated(memory, "ours, recall alone", layout))
    table.row(["ours", "", seconds(times["ours"]), "", own])
    gap = max(abs(recalls["ours"][name] - value) for name, value in recalls["faiss"].items())
    cells = f"{gap:.1e}", seconds(times["faiss"]), ratio(times["faiss"], times["ours"])
    table.row(["faiss", *cells, mebibytes(isolated(memory, "faiss", layout))])


def _growth(sizes: "tuple[int, ...] | list[int]") -> None:
    print("\ngrowth with the number of embeddings N, x 128 in 100 classes, so R = N / 100; one run each")
    table = Table([("metrics", 28), ("N", 7), ("s", 7), ("s / N^2, 1e-9", 13), ("MiB", 6), ("KiB / N", 8)])
    for side in ("ours, recall alone", "ours"):
        for size in sizes:
            taken, extra = isolated(growth, side, Layout(size, 128, 100))
            cells = f"{taken:.2f}", f"{taken / size**2 * 1e9:.2f}", mebibytes(extra), f"{extra / size / 1024:.2f}"
            title = "Recall@1,2,4,8" if side != "ours" else "all, with MAP@R and MRR"
            table.row([title, f"{size:,}", *cells])


def sides() -> dict[str, Metrics]:
    """Everything that is compared, by name."""
    return {"ours": retrieval_metrics, **{name: partial(_accuracy, k) for name, k in PEERS.items()}}


def _recall_alone(embeddings: Tensor, labels: Tensor) -> dict[str, float]:
    found = retrieval_metrics(embeddings, labels, RECALL_AT, map_at_r=False, mrr=False)
    return {f"recall_at_{k}": found[f"recall_at_{k}"] for k in RECALL_AT}


def _recall_by_faiss(embeddings: Tensor, labels: Tensor) -> dict[str, float]:
    return _recall_of(neighbours_by_faiss(embeddings), labels)


def _recall_of(neighbours: Tensor, labels: Tensor) -> dict[str, float]:
    hits = labels[neighbours] == labels[:, None]
    return {f"recall_at_{k}": float(hits[:, :k].any(1).double().mean()) for k in RECALL_AT}


def neighbours_by_faiss(embeddings: Tensor) -> Tensor:
    """The nearest others (N, 8) of each."""
    import faiss

    index = faiss.IndexFlatL2(embeddings.shape[1])
    index.add(embeddings.numpy())
    found = torch.from_numpy(index.search(embeddings.numpy(), RECALL_AT[-1] + 1)[1])
    # Itself goes to the end, wherever it stood among equals.
    own = found == torch.arange(len(found))[:, None]
    return found.gather(1, own.byte().argsort(dim=1, stable=True))[:, :-1]


def compare_with_faiss(layout: Layout, repeats: int) -> tuple[dict[str, dict[str, float]], int, dict[str, Times]]:
    """Recalls, how many lists of neighbours differ, and times, the sides run in turns.

    Raises:
        AssertionError: neighbours differ whose distances do not, or recalls by more than such lists explain.
    """
    from metriscope.evaluation.search.neighbors import nearest

    data = clustered(layout)
    recalls: dict[str, dict[str, float]] = {}
    theirs = torch.empty(0)

    def our_side() -> None:
        recalls["ours"] = _recall_alone(*data)

    def their_side() -> None:
        nonlocal theirs
        theirs = neighbours_by_faiss(data[0])
        recalls["faiss"] = _recall_of(theirs, data[1])

    times = side_by_side([our_side, their_side], seconds=0, at_least=repeats, warm_up=False)
    ours = nearest(data[0], data[0], RECALL_AT[-1], exclude_self=True)
    rows = (ours != theirs).any(1).nonzero().squeeze(1)
    exact = [(data[0][rows, None] - data[0][found[rows]]).double().square().sum(2) for found in (ours, theirs)]
    if len(rows) and float((exact[0] - exact[1]).abs().max()) > TOLERANCE:
        raise AssertionError("neighbours differ that are not equally near")
    gap = max(abs(recalls["ours"][name] - value) for name, value in recalls["faiss"].items())
    if gap > len(rows) / layout.size + 1e-12:
        raise AssertionError(f"recalls differ by {gap:.1e}: {recalls}")
    return recalls, len(rows), dict(zip(recalls, times, strict=True))


def growth(side: str, layout: Layout) -> tuple[float, int]:
    """Seconds and bytes at the peak of one run; for a fresh process."""
    started = [0.0]

    def work() -> None:
        started[0] = time.perf_counter()
        _ALL[side](*data)
        started[0] = time.perf_counter() - started[0]

    data, small = clustered(layout), clustered(layout._replace(size=200))
    extra = peak_extra(work, lambda: _ALL[side](*small))
    return started[0], extra


def _accuracy(k: int | str | None, embeddings: Tensor, labels: Tensor) -> dict[str, float]:
    from pytorch_metric_learning.distances import LpDistance
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    search = None if faiss_installed() else CustomKNN(LpDistance(normalize_embeddings=False))
    calculator = AccuracyCalculator(include=tuple(PAIRS.values()), k=k, device=torch.device("cpu"), knn_func=search)
    found: dict[str, float] = calculator.get_accuracy(embeddings, labels)
    return {name: found[theirs] for name, theirs in PAIRS.items()}


def clustered(layout: Layout) -> tuple[Tensor, Tensor]:
    """Unit vectors (N, D) around overlapping class centres, and labels (N,): no metric is near 0 or 1."""
    source = torch.Generator().manual_seed(0)
    labels = torch.randint(layout.classes, (layout.size,), generator=source)
    centres = torch.randn(layout.classes, layout.dimension, generator=source)
    embeddings = centres[labels] + 2.5 * torch.randn(layout.size, layout.dimension, generator=source)
    return torch.nn.functional.normalize(embeddings), labels


def difference(ours: dict[str, float], peer: dict[str, float], tolerance: float = TOLERANCE) -> float:
    """The largest difference of what both define.

    Raises:
        AssertionError: it is above ``tolerance``.
    """
    largest = max(abs(ours[name] - peer[name]) for name in PAIRS)
    if largest > tolerance:
        raise AssertionError(f"metrics differ by {largest:.1e}: ours {ours}, the peer's {peer}")
    return largest


def _tolerance(layout: Layout) -> float:
    """A swap moves the hits of one query in N by one in R."""
    return max(TOLERANCE, SWAPS * layout.classes / layout.size**2)


def compare(layout: Layout, repeats: int) -> tuple[dict[str, dict[str, float]], dict[str, Times]]:
    """Metrics and times of every side, run in turns.

    Raises:
        AssertionError: ours are not those of float64, or the peer's differ by more than a few swaps.
    """
    embeddings, labels = clustered(layout)
    metrics = {name: side(embeddings, labels) for name, side in sides().items()}
    difference(retrieval_metrics(embeddings.double(), labels), metrics["ours"], 1e-12)
    for peer in PEERS:
        difference(metrics["ours"], metrics[peer], _tolerance(layout))
    work = [partial(side, embeddings, labels) for side in sides().values()]
    times = side_by_side(work, seconds=20 * (repeats - 1), at_least=repeats, warm_up=False)
    return metrics, dict(zip(sides(), times, strict=True))


def memory(side: str, layout: Layout) -> int:
    """Bytes that one side needs at its peak; for a fresh process."""
    return growth(side, layout)[1]


_ALL: dict[str, Metrics] = {**sides(), "ours, recall alone": _recall_alone, "faiss": _recall_by_faiss}
