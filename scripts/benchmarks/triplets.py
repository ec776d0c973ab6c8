"""Band triplets against listed triplets."""

from pathlib import Path

import torch

from benchmarks.contests import LAYOUTS, PEER_LIMIT, agreement, compare, memory, peer_fits, triplets
from benchmarks.measuring import MIB, isolated
from benchmarks.table import Table, mebibytes, milliseconds, ratio

NAMES = ("triplet, all", "triplet, semi-hard")


def run(quick: bool, data_dir: Path | None) -> None:
    """Print agreement in float64, then time and memory over batch sizes."""
    sizes = (32, 64) if quick else (128, 256, 512, 1024)
    exact = [
        isolated(agreement, name, size, layout, torch.float64)
        for name in NAMES
        for layout in LAYOUTS
        for size in sizes
        if size <= 512
    ]
    print(
        f"float64, {len(exact)} cases up to batch {min(max(sizes), 512)}: largest relative difference "
        f"of the value {max(a.value for a in exact):.1e}, of the gradient {max(a.gradient for a in exact):.1e}"
    )
    print("float32, 128 dimensions; ms: minimum (median) of a step from embeddings to their gradient; MiB: peak extra")
    columns = [("loss", 18), ("classes", 11), ("batch", 5), ("triplets", 10), ("value", 8), ("gradient", 8)]
    columns += [("ours ms", 13), ("peer ms", 13), ("faster", 15), ("ours MiB", 8), ("peer MiB", 8), ("less", 6)]
    table = Table(columns, names=2)
    for name in NAMES:
        for layout in LAYOUTS:
            for size in sizes:
                _row(table, name, size, layout, seconds=0.1 if quick else 6)


def _row(table: Table, name: str, size: int, layout: str, seconds: float) -> None:
    fits = peer_fits(name, size, layout)
    result = isolated(compare, name, size, layout, seconds, fits)
    case = [name, layout, str(size), f"{triplets(LAYOUTS[layout](size)):,}"]
    own = isolated(memory, name, "ours", size, layout)
    if result.agreement is None or result.peer is None:
        skipped = f"peer skipped: would need more than {PEER_LIMIT // MIB} MiB"
        table.row([*case, "", "", milliseconds(result.ours), "", "", mebibytes(own), "", skipped])
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
