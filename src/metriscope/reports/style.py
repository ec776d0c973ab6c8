"""Style of all figures: looks that colour-blind readers can distinguish, plain axes, no global state."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from metriscope.errors import InputError
from metriscope.escapes import for_figure
from metriscope.evaluation.metrics import title_of
from metriscope.files import folder_in, replacing
from metriscope.reports.fonts import is_wide, with_fallbacks
from metriscope.tracking.guard import first_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

T = TypeVar("T")

# Okabe and Ito, "Color Universal Design" (2008), without its yellow, which is hard to see on white, and with the wine
# of Paul Tol's muted scheme.
BLUE, ORANGE, GREEN, PINK, SKY, RED, BLACK, WINE = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#333333",
    "#882255",
)
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, RED, BLACK, WINE)
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "<", "*", ">", "p")
DASHES: tuple[Any, ...] = ("-", "--", ":", (0, (6, 1.5, 1, 1.5)))
GREY, GRID = "#777777", "#E5E5E5"

FORMATS = ("png", "svg", "pdf")
"""Formats of figure files."""
DPI = 200
SMALL, PLAIN, LARGE = 8, 9, 10
"""Sizes of text in points."""

_ROW = 0.19
_EDGE, _RIGHT, _BELOW = 0.62, 0.22, 0.5


class Look(NamedTuple):
    """What tells a line from others, also for colour-blind readers and in grey."""

    color: str
    style: Any
    marker: str


def look(place: int) -> Look:
    """The look of the method at a place among all of a comparison; the first 352 differ."""
    colors = len(PALETTE)
    return Look(PALETTE[place % colors], DASHES[place // colors % len(DASHES)], MARKERS[place % len(MARKERS)])


def heading(key: str, title: str = "") -> str:
    """A logged key as a heading, with its split; without a title that of the registry."""
    title, split = title.strip() or title_of(key), key.rpartition("/")[0]
    # Names such as k-NN and MAP@R keep their own case.
    first = title[0].upper() + title[1:] if title.split()[0].islower() else title
    return f"{first} ({split})" if split else first


_NARROW, _BROAD = frozenset("fijlrtI.,:;'|()[]/ -!"), frozenset("mwMW@%")


def width_of(text: str, size: float, bold: bool = False) -> float:
    """About how many inches a text takes."""
    narrow, plain, capital, broad = (0.42, 0.7, 0.83, 1.05) if bold else (0.37, 0.63, 0.76, 0.98)

    def width(one: str) -> float:
        if is_wide(one):
            return 1.2
        return narrow if one in _NARROW else broad if one in _BROAD else capital if one.isupper() else plain

    return sum(map(width, text)) * size / 72


def fitted(text: str, inches: float, size: float, bold: bool = False) -> str:
    """A text for Matplotlib, cut in its middle to about a width."""
    each = width_of(text, size, bold) / max(len(text), 1)
    return for_figure(text, max(int(inches / each), 8) if each else 8)


def panels(
    titles: Sequence[str],
    columns: int = 3,
    width: float = 4.6,
    height: float = 3.4,
    *,
    title: str = "",
    note: str = "",
    key: Mapping[str, Look] | None = None,
    legend_rows: int = 0,
    left: float = 0.0,
    right: float = 0.0,
) -> "tuple[Figure, list[Axes]]":
    """Titled, empty panels in rows of up to ``columns``, whose places do not depend on what is drawn.

    Args:
        titles: of the panels.
        width, height: inches of one panel with its margins.
        title: of the whole figure: which run or study it shows.
        note: a line below it that says how to read the figure.
        key: looks by name, explained above all panels.
        legend_rows: lines kept free above each panel, for :func:`legend_above`.
        left, right: further inches beside all panels.
    """
    from matplotlib.figure import Figure

    columns = max(min(columns, len(titles)), 1)
    rows = -(-len(titles) // columns)
    # Up to the title of the next panel, or to the edge.
    ends = [place % columns == columns - 1 for place in range(len(titles))]
    shown = [
        _title_lines(name, width - max(_EDGE - right, 0.0) * end - 0.1) for name, end in zip(titles, ends, strict=True)
    ]
    further = _ROW * (max((len(lines) for lines in shown), default=1) - 1)
    height += further
    across = width * columns + left + right
    keyed = _key_layout(list(key or ()), across)
    head = 0.36 * bool(title) + 0.24 * bool(note) + (_ROW * keyed[1] + 0.1) * bool(key)
    up = height * rows + head
    figure = Figure(figsize=(across, up))
    axes = []
    above = 0.34 + further + _ROW * legend_rows
    for place, lines in enumerate(shown):
        x, y = left + place % columns * width + _EDGE, height * (rows - 1 - place // columns) + _BELOW
        inner = (width - _EDGE - _RIGHT, height - _BELOW - above)
        axis = figure.add_axes((x / across, y / up, inner[0] / across, inner[1] / up))
        said = "\n".join(lines)
        axis.set_title(said, loc="left", fontsize=LARGE, fontweight="bold", pad=5 + 72 * _ROW * legend_rows)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=SMALL, color=GREY)
        axis.grid(axis="y", color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axes.append(axis)
    start = 0.12
    for text, size, weight, color in ((title, 12, "bold", BLACK), (note, SMALL + 0.5, "normal", GREY)):
        if text:
            said = fitted(text, across - 0.2, size, weight == "bold")
            figure.text(0.12 / across, 1 - start / up, said, fontsize=size, fontweight=weight, color=color, va="top")
            start += 0.26
    if key:
        _draw_key(figure, key, keyed[0], (0.1 / across, 1 - start / up))
    return figure, axes


def _title_lines(title: str, inches: float) -> list[str]:
    """The title of a panel for Matplotlib; one that is too long goes on after its last comma, and each line is cut."""
    what, _, data = title.rpartition(", ")
    fits = width_of(title, LARGE, bold=True) <= inches
    return [fitted(line, inches, LARGE, bold=True) for line in ([title] if fits or not what else [what, data])]


_LONGEST = 60


def _key_layout(names: Sequence[str], across: float) -> tuple[int, int]:
    """Columns and rows of a legend over the width of a figure."""
    widest = max((width_of(name[:_LONGEST], SMALL) for name in names), default=0.0)
    columns = max(min(int((across - 0.2) / (widest + 0.62)), len(names)), 1)
    return columns, -(-len(names) // columns)


def _draw_key(figure: "Figure", key: Mapping[str, Look], columns: int, place: tuple[float, float]) -> None:
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color=color, linestyle=style, marker=marker, markersize=4.5, label=for_figure(name, _LONGEST))
        for name, (color, style, marker) in key.items()
    ]
    figure.legend(
        handles=lines, loc="upper left", bbox_to_anchor=place, ncols=columns, fontsize=SMALL, frameon=False,
        borderaxespad=0, borderpad=0, handlelength=3, columnspacing=1.5,
    )  # fmt: skip


def legend_above(axis: "Axes", rows: int) -> None:
    """The legend of a panel in the lines kept free above it."""
    lines, names = axis.get_legend_handles_labels()
    if names:
        axis.legend(
            lines, names, loc="lower left", bbox_to_anchor=(0, 1), ncols=-(-len(names) // rows), fontsize=SMALL - 0.5,
            frameon=False, borderaxespad=0.15, borderpad=0, handlelength=2.4, columnspacing=1.0, labelspacing=0.4,
        )  # fmt: skip


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure atomically, into a folder that is made if the one above it is there; returns its path.

    Raises:
        OSError: the folder is full, read-only or a link.
    """
    from matplotlib import rc_context

    path = folder_in(path.parent.parent, path.parent.name) / path.name
    # Text as text makes an SVG smaller and quicker to write; printers refuse the fonts that a PDF has by default.
    parameters: Any = {"svg.fonttype": "none", "svg.hashsalt": "metriscope", "pdf.fonttype": 42}
    # Without dates, the same figure is the same file.
    dates: dict[str, dict[str, Any]] = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with replacing(path) as draft, rc_context(parameters):
        if path.suffix == ".png":
            figure.savefig(draft, dpi=DPI, pil_kwargs={"compress_level": 2})
        else:
            figure.savefig(draft, dpi=DPI, metadata=dates.get(path.suffix))
    return path


def save_as(figure: "Figure", path: Path, formats: Sequence[str]) -> list[Path]:
    """Write a figure in several formats, which follow ``path`` as its suffix; returns the paths."""
    return [save(figure, path.with_name(f"{path.name}.{kind}")) for kind in formats]


def guarded(name: str, draw: Callable[[], T]) -> T | None:
    """What ``draw`` returns; None and one warning where the figure ``name`` cannot be drawn or written.

    Texts that are made by ``draw`` may be in any script.

    Raises:
        InputError: from ``draw``.
    """
    try:
        # Figures near the largest number may have no place on an axis.
        with with_fallbacks(), np.errstate(over="ignore"):
            return draw()
    except InputError:
        raise
    except Exception as error:
        log.warning("the figure %s is left out (%s: %s)", name, type(error).__name__, first_line(error))
        return None
