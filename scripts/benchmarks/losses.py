"""Every loss that the peer also has, how band triplets grow, what methods cost; or losses against another commit."""

from pathlib import Path

from benchmarks import beside, losses_by_commit
from benchmarks.comparing import LAYOUTS, Comparison, compare, memory, peer_refusal
from benchmarks.contests import BANDS, CONTESTS, sizes
from benchmarks.measuring import isolated
from benchmarks.table import Table, mebibytes, milliseconds, ratio


def run(quick: bool, data_dir: Path | None, against: str | None = None) -> None:
    """Print the table of losses, how they differ where they do, and the tables of growth and of methods.

    Args:
        against: a commit; the comparison with it takes the place of those tables.
    """
    if against:
        losses_by_commit.run(quick, against)
        return
    print("float32, 128 dimensions; ms: minimum (median) of a step from embeddings to their gradient; MiB: peak extra")
    columns = [("loss", 26), ("classes", 11), ("batch", 5), ("agrees", 10), ("ours ms", 13), ("peer ms", 13)]
    columns += [("faster", 15), ("ours MiB", 8), ("peer MiB", 8)]
    table = Table(columns, names=2)
    behind = []
    for name in CONTESTS:
        for layout in LAYOUTS:
            for size in (32,) if quick else (128, 512, 2048):
                behind += _row(table, name, size, layout, seconds=0 if quick else 0.5)
    for name, contest in CONTESTS.items():
        if contest.differs:
            print(f"{name} differs: {contest.differs}")
    print(f"behind the peer: {', '.join(behind) or 'nowhere'}")
    _growth(quick)
    beside.run(quick)


def _row(table: Table, name: str, size: int, layout: str, seconds: float) -> list[str]:
    """Prints a line; what of it is slower than the peer, or takes more memory."""
    refusal = peer_refusal(name, size, layout)
    result = isolated(compare, name, size, layout, seconds, not refusal)
    own = isolated(memory, name, "ours", size, layout)
    case = [name, layout, str(size), _agrees(name, result), milliseconds(result.ours)]
    if result.peer is None:
        table.row([*case, refusal, "", mebibytes(own)])
        return []
    peer = isolated(memory, name, "peer", size, layout)
    table.row([*case, milliseconds(result.peer), ratio(result.peer, result.ours), mebibytes(own), mebibytes(peer)])
    behind = {"time": result.peer.minimum < result.ours.minimum, "memory": peer < own}
    return [f"{name} in {what} ({layout}, {size})" for what, is_behind in behind.items() if is_behind]


def _agrees(name: str, result: Comparison) -> str:
    """The largest relative difference, of value or gradient."""
    if result.agreement is None:
        return ""
    return f"{'no: ' if CONTESTS[name].differs else ''}{max(result.agreement):.0e}"


def _growth(quick: bool) -> None:
    print("\ngrowth of band triplets, ours alone")
    table = Table([("loss", 20), ("classes", 11), ("batch", 5), ("triplets", 15), ("ms", 13), ("MiB", 6)], names=2)
    for name in BANDS:
        for layout in LAYOUTS:
            for size in (64, 128) if quick else (512, 1024, 2048, 4096, 8192):
                times = isolated(compare, name, size, layout, 0 if quick else 1, False, 1).ours
                own = isolated(memory, name, "ours", size, layout)
                count = f"{sizes(LAYOUTS[layout](size)).triplets:,}"
                table.row([name, layout, str(size), count, milliseconds(times), mebibytes(own)])
