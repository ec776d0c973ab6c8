"""Style of all figures: colours that colour-blind readers can distinguish, plain axes, no global state."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from metriscope.errors import InputError
from metriscope.escapes import for_figure
from metriscope.evaluation.metrics import title_of
from metriscope.files import folder_in, replacing
from metriscope.tracking.guard import first_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)

T = TypeVar("T")

# Okabe and Ito, "Color Universal Design" (2008), without its yellow, which is hard to see on white.
BLUE, ORANGE, GREEN, PINK, SKY, RED, BLACK = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#333333",
)
PALETTE = (BLUE, ORANGE, GREEN, PINK, SKY, RED, BLACK)
MARKERS = ("o", "^", "s")
GREY = "#777777"


def heading(key: str) -> str:
    """The title of a logged key as a heading, with its split."""
    title, split = title_of(key), key.rpartition("/")[0]
    # Names such as k-NN and MAP@R keep their own case.
    first = title[0].upper() + title[1:] if title.split()[0].islower() else title
    return f"{first} ({split})" if split else first


def panels(
    titles: Sequence[str], columns: int = 3, width: float = 4.6, height: float = 3.4
) -> "tuple[Figure, list[Axes]]":
    """Titled, empty panels in rows of up to ``columns``; sizes in inches of one panel."""
    from matplotlib.figure import Figure

    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained", dpi=120)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(len(titles))]
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(for_figure(title), loc="left", fontsize=10, fontweight="bold")
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, color=GREY)
        axis.grid(axis="y", color="#E5E5E5", linewidth=0.8)
        axis.set_axisbelow(True)
    return figure, axes


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure atomically, into a folder that is made if the one above it is there; returns its path.

    Raises:
        OSError: the folder is full, read-only or a link.
    """
    path = folder_in(path.parent.parent, path.parent.name) / path.name
    with replacing(path) as draft:
        figure.savefig(draft)
    return path


def guarded(name: str, draw: Callable[[], T]) -> T | None:
    """What ``draw`` returns; None and one warning where the figure ``name`` cannot be drawn or written.

    Raises:
        InputError: from ``draw``.
    """
    try:
        return draw()
    except InputError:
        raise
    except Exception as error:
        log.warning("the figure %s is left out (%s: %s)", name, type(error).__name__, first_line(error))
        return None
