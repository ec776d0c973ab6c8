"""Aligned plain-text tables, a line as soon as it is known."""

from collections.abc import Sequence

from benchmarks.measuring import MIB, Times


class Table:
    """Prints rows under a header; names to the left, numbers to the right.

    Args:
        columns: titles, each with the width that its values need.
        names: how many columns, from the first, hold names.
    """

    def __init__(self, columns: Sequence[tuple[str, int]], names: int = 1) -> None:
        self.names = names
        self.widths = [max(len(title), width) for title, width in columns]
        self.row([title for title, _ in columns])
        print("-" * (sum(self.widths) + 2 * (len(self.widths) - 1)))

    def row(self, cells: Sequence[str]) -> None:
        """One line; cells that are missing at the end stay empty."""
        sized = list(zip(cells, self.widths, strict=False))
        names = [cell.ljust(width) for cell, width in sized[: self.names]]
        numbers = [cell.rjust(width) for cell, width in sized[self.names :]]
        print("  ".join([*names, *numbers]).rstrip(), flush=True)


def milliseconds(times: Times) -> str:
    """``minimum (median)``."""
    return f"{_figure(times.minimum * 1e3)} ({_figure(times.median * 1e3)})"


def seconds(times: Times) -> str:
    """``minimum (median)``."""
    return f"{_figure(times.minimum)} ({_figure(times.median)})"


def ratio(slow: Times, fast: Times) -> str:
    """``x of minima (x of medians)``, with ``~`` where the machine was busy with something else."""
    doubt = "" if slow.quiet and fast.quiet else "~"
    return f"{_figure(slow.minimum / fast.minimum)}x ({_figure(slow.median / fast.median)}x){doubt}"


def _figure(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def mebibytes(size: float) -> str:
    return f"{size / MIB:.1f}" if size < 100 * MIB else f"{size / MIB:.0f}"
