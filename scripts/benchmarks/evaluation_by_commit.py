"""Retrieval metrics by this code and by that of another commit: the same figures first, then time in turns."""

from statistics import median

from loss_compare import checkout

from benchmarks.evaluation import Layout
from benchmarks.table import Table
from benchmarks.turns import ROOT, Median, Side, in_turns, started

TOLERANCE = 1e-12
# Layouts, whether more than Recall@K is computed, and pairs of turns.
CASES = (
    (Layout(10_000, 128, 10), True, 7),
    (Layout(10_000, 128, 100), True, 7),
    (Layout(5924, 512, 100), True, 7),
    (Layout(60_000, 512, 100), False, 2),
)


def run(quick: bool, against: str) -> None:
    """Print the median ratio of the times of an evaluation, the other code over this one."""
    print(f"float32; retrieval metrics of a whole set, by this checkout and by {against}")
    print("ratio: median of there / here; above 1 this checkout is faster")
    columns = [("set", 24), ("metrics", 14), ("differs by", 10), ("s here", 8), ("s there", 8)]
    table = Table([*columns, ("ratio", 7), ("least to greatest", 17), ("pairs", 5)], names=2)
    command = ["-m", "benchmarks.evaluation_side"]
    with checkout(against) as other, started(ROOT, command) as here, started(other, command) as there:
        for layout, whole, pairs in CASES:
            small = layout._replace(size=layout.size // 10) if quick else layout
            _row(table, here, there, small, whole, 2 if quick else pairs)


def _row(table: Table, here: Side, there: Side, layout: Layout, whole: bool, pairs: int) -> None:
    for side in (here, there):
        side.ask("case", tuple(layout), whole)
    # The first turn of each side, which makes buffers, is not counted.
    turns = in_turns(lambda: here.ask("seconds"), lambda: there.ask("seconds"), pairs + 1)[1:]
    gap = difference(*(side.ask("result") for side in (here, there)))
    ratio = Median.of([theirs / ours for ours, theirs in turns])
    times = [f"{median(taken):.3f}" for taken in zip(*turns, strict=True)]
    name = f"{layout.size:,} x {layout.dimension} in {layout.classes}"
    cells = [*times, f"{ratio.value:.3f}", f"{ratio.low:.3f} to {ratio.high:.3f}", str(pairs)]
    table.row([name, "all, with MAP@R" if whole else "Recall@1,2,4,8", f"{gap:.0e}", *cells])


def difference(here: dict[str, float], there: dict[str, float]) -> float:
    """The largest difference of the figures of both sides.

    Raises:
        AssertionError: it is above ``TOLERANCE``, or one side has figures that the other has not.
    """
    if here.keys() != there.keys():
        raise AssertionError(f"not the same figures: {sorted(here.keys() ^ there.keys())}")
    largest = max(abs(value - there[name]) for name, value in here.items())
    if largest > TOLERANCE:
        raise AssertionError(f"figures differ by {largest:.1e}: {here}, {there}")
    return largest
