"""Every loss that pytorch-metric-learning also has, and how band triplets grow with the batch."""

from pathlib import Path

from benchmarks.contests import CONTESTS, LAYOUTS, PEER_LIMIT, Comparison, compare, memory, peer_fits, triplets
from benchmarks.measuring import MIB, isolated
from benchmarks.table import Table, mebibytes, milliseconds, ratio


def run(quick: bool, data_dir: Path | None) -> None:
    """Print the table of losses and the table of growth."""
    print("float32, 128 dimensions; ms: minimum (median) of a step from embeddings to their gradient; MiB: peak extra")
    columns = [("loss", 20), ("classes", 11), ("batch", 5), ("agrees", 6), ("ours ms", 13), ("peer ms", 13)]
    columns += [("faster", 15), ("ours MiB", 8), ("peer MiB", 8)]
    table = Table(columns, names=2)
    for name in CONTESTS:
        for layout in LAYOUTS:
            for size in (32, 64) if quick else (128, 512, 2048):
                _row(table, name, size, layout, seconds=0.1 if quick else 3)
    for name, contest in CONTESTS.items():
        if contest.differs:
            print(f"{name} differs: {contest.differs}")
    _growth(quick)


def _row(table: Table, name: str, size: int, layout: str, seconds: float) -> None:
    fits = peer_fits(name, size, layout)
    result = isolated(compare, name, size, layout, seconds, fits)
    own = mebibytes(isolated(memory, name, "ours", size, layout))
    case = [name, layout, str(size), _agrees(name, result), milliseconds(result.ours)]
    if result.peer is None:
        table.row([*case, f"> {PEER_LIMIT // MIB} MiB", "", own])
        return
    peer = mebibytes(isolated(memory, name, "peer", size, layout))
    table.row([*case, milliseconds(result.peer), ratio(result.peer, result.ours), own, peer])


def _agrees(name: str, result: Comparison) -> str:
    if CONTESTS[name].differs:
        return "no"
    return "" if result.agreement is None else f"{max(result.agreement):.0e}"


def _growth(quick: bool) -> None:
    print("\ngrowth of band triplets, ours alone")
    table = Table([("loss", 20), ("classes", 11), ("batch", 5), ("triplets", 15), ("ms", 13), ("MiB", 6)], names=2)
    for name in ("triplet, all", "triplet, semi-hard"):
        for layout in LAYOUTS:
            for size in (64, 128) if quick else (512, 1024, 2048, 4096, 8192):
                times = isolated(compare, name, size, layout, 0.1 if quick else 2, False).ours
                own = isolated(memory, name, "ours", size, layout)
                count = f"{triplets(LAYOUTS[layout](size)):,}"
                table.row([name, layout, str(size), count, milliseconds(times), mebibytes(own)])
