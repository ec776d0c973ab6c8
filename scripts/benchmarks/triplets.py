"""Band triplets against listed triplets."""

from pathlib import Path

import torch

from benchmarks.comparing import LAYOUTS, agreement, compare, memory, peer_refusal
from benchmarks.contests import sizes
from benchmarks.measuring import isolated
from benchmarks.table import Table, mebibytes, milliseconds, ratio

NAMES = ("triplet, all", "triplet, semi-hard")


def run(quick: bool, data_dir: Path | None) -> None:
    """Print agreement in float64, then time and memory over batch sizes."""
    batches = (32, 64) if quick else (128, 256, 512, 1024)
    exact = [
        isolated(agreement, name, size, layout, torch.float64)
        for name in NAMES
        for layout in LAYOUTS
        for size in batches
        if size <= 512
    ]
    print(
        f"float64, {len(exact)} cases up to batch {min(max(batches), 512)}: largest relative difference "
        f"of the value {max(a.value for a in exact):.1e}, of the gradient {max(a.gradient for a in exact):.1e}"
    )
    print("float32, 128 dimensions; ms: minimum (median) of a step from embeddings to their gradient; MiB: peak extra")
    columns = [("loss", 18), ("classes", 11), ("batch", 5), ("triplets", 10), ("value", 8), ("gradient", 8)]
    columns += [("ours ms", 13), ("peer ms", 13), ("faster", 15), ("ours MiB", 8), ("peer MiB", 8), ("less", 6)]
    table = Table(columns, names=2)
    for name in NAMES:
        for layout in LAYOUTS:
            for size in batches:
                _row(table, name, size, layout, seconds=0.1 if quick else 6)


def _row(table: Table, name: str, size: int, layout: str, seconds: float) -> None:
    refusal = peer_refusal(name, size, layout)
    result = isolated(compare, name, size, layout, seconds, not refusal)
    case = [name, layout, str(size), f"{sizes(LAYOUTS[layout](size)).triplets:,}"]
    own = isolated(memory, name, "ours", size, layout)
    if result.agreement is None or result.peer is None:
        table.row([*case, "", "", milliseconds(result.ours), "", "", mebibytes(own), "", f"peer skipped: {refusal}"])
        return
    peer = isolated(memory, name, "peer", size, layout)
    table.row(
        [
            *case,
            f"{result.agreement.value:.0e}",
            f"{result.agreement.gradient:.0e}",
            milliseconds(result.ours),
            milliseconds(result.peer),
            ratio(result.peer, result.ours),
            mebibytes(own),
            mebibytes(peer),
            f"{peer / max(own, 1):.3g}x",
        ]
    )
