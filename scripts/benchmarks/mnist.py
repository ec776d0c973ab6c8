"""An epoch of real MNIST, then retrieval on its test images: our command line against the peer's job."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.measuring import faiss_installed, stalled
from benchmarks.table import Table, mebibytes

FILES = tuple(f"MNIST/raw/{half}-{kind}-ubyte" for half in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))
JOBS = {
    "ours, float32": ("ours",),
    "ours, bf16-mixed": ("ours", "trainer.precision=bf16-mixed"),
    "ours, bf16-mixed, no diagnostics": ("ours", "trainer.precision=bf16-mixed", "diagnostics=none"),
    "peer, float32": ("peer",),
}
PEER = "peer, float32"


def run(quick: bool, data_dir: Path | None) -> None:
    """Print seconds, memory and Recall@1 of each job, in processes of their own, in turns."""
    missing = _missing(data_dir)
    if missing:
        print(f"mnist skipped: {missing}")
        return
    assert data_dir is not None
    print("small_cnn, triplet + semi-hard, batch 10 x 25, Adam, one epoch of 60,000; Recall and MAP@R of 10,000")
    search = "faiss" if faiss_installed() else "CustomKNN, as faiss is not installed"
    print(f"the peer: 2-worker DataLoader, contiguous memory format, AccuracyCalculator at its default k, {search}")
    print("seconds without imports; MiB: peak of the main process as a whole, its workers not counted")
    print("contended: share of the time in which processes waited for a CPU (a peer's workers do so by themselves)")
    turns = 1 if quick else 2
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in JOBS}
    for _ in range(turns):
        for name, (side, *overrides) in JOBS.items():
            found = job(side, data_dir, overrides)
            results[name].append(found)
            # bfloat16 takes minutes on a CPU that does not compute in it: what is known is not lost with patience.
            print(f"{name}: {found['training']:.1f} s + {found['evaluation']:.1f} s", file=sys.stderr, flush=True)
    best = {name: min(runs, key=lambda run: float(run["job"])) for name, runs in results.items()}
    columns = [("best of " + str(turns), 34), ("training s", 10), ("evaluation s", 12), ("both s", 6), ("job s", 6)]
    columns += [
        ("MiB", 6),
        ("Recall@1", 8),
        ("MAP@R", 7),
        ("contended", 9),
        ("faster", 6),
        ("job faster", 10),
        ("memory share", 12),
    ]
    table = Table(columns)
    for name, values in best.items():
        table.row(_cells(name, values, best[PEER]))


def _cells(name: str, values: dict[str, Any], peer: dict[str, Any]) -> list[str]:
    both, theirs = (run["training"] + run["evaluation"] for run in (values, peer))
    times = [f"{seconds:.1f}" for seconds in (values["training"], values["evaluation"], both, values["job"])]
    quality = [f"{values['recall_at_1']:.4f}", f"{values['map_at_r']:.4f}"]
    share = f"{values['peak'] / peer['peak']:.1%}"
    ratios = [f"{theirs / both:.2f}x", f"{peer['job'] / values['job']:.2f}x", share]
    cells = [name, *times, mebibytes(values["peak"]), *quality, f"{values['waiting']:.0%}"]
    return cells if name == PEER else [*cells, *ratios]


def job(side: str, data_dir: Path, overrides: list[str]) -> dict[str, Any]:
    """One job in a process of its own.

    Raises:
        RuntimeError: it failed; the message is what it said.
    """
    folder = str(Path(__file__).resolve().parents[1])
    waited, before = stalled(), time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.mnist_jobs", side, str(data_dir.resolve()), *overrides]
    environment = {**os.environ, "PYTHONPATH": folder}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    waiting = (stalled() - waited) / (time.perf_counter() - before)
    return {**result, "waiting": waiting}


def _missing(data_dir: Path | None) -> str:
    if data_dir is None:
        return "give --data-dir, the folder that holds MNIST/raw"
    absent = next((name for name in FILES if not (data_dir / name).is_file()), None)
    return f"{data_dir / absent} is missing" if absent else ""
