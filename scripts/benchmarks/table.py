"""Aligned plain-text tables, a line as soon as it is known."""

from collections.abc import Sequence

from benchmarks.measuring import MIB, Times


class Table:
    """Prints rows under a header; the first column to the left, the others to the right.

    Args:
        columns: titles, each with the width that its values need.
    """

    def __init__(self, columns: Sequence[tuple[str, int]]) -> None:
        self.widths = [max(len(title), width) for title, width in columns]
        self.row([title for title, _ in columns])
        print("-" * (sum(self.widths) + 2 * (len(self.widths) - 1)))

    def row(self, cells: Sequence[str]) -> None:
        """One line; cells that are missing at the end stay empty."""
        first, *others = zip(cells, self.widths, strict=False)
        aligned = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        print("  ".join(aligned).rstrip(), flush=True)


def milliseconds(times: Times) -> str:
    """``minimum (median)``."""
    return f"{times.minimum * 1e3:.3g} ({times.median * 1e3:.3g})" if times.median < 1 else _long(times)


def _long(times: Times) -> str:
    return f"{times.minimum * 1e3:.0f} ({times.median * 1e3:.0f})"


def ratio(slow: Times, fast: Times) -> str:
    """``x of minima (x of medians)``."""
    return f"{slow.minimum / fast.minimum:.3g}x ({slow.median / fast.median:.3g}x)"


def mebibytes(size: float) -> str:
    return f"{size / MIB:.1f}" if size < 100 * MIB else f"{size / MIB:.0f}"


def seconds(times: Times) -> str:
    """``minimum (median)``."""
    return f"{times.minimum:.3g} ({times.median:.3g})"
