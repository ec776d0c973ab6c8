"""Figures of a run's history: training curves, variance over time, and greediness of the loss over time.

The functions take rows from :func:`metriscope.run.history.read_history`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metriscope.evaluation.metrics import logged, title_of
from metriscope.reports.scales import epochs_axis, value_axis
from metriscope.reports.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PLAIN,
    RED,
    SKY,
    SMALL,
    guarded,
    heading,
    legend_above,
    panels,
    save_as,
)
from metriscope.run.history import Row, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_SPLITS = {"train": "train", "val": "validation"}
_STYLES = ("-", "--", "-.")


class Curve(NamedTuple):
    """One line of a panel: logged key and style."""

    key: str
    color: str
    style: str = "-"


def training_curves(history: Sequence[Row], best_epoch: int | None = None, title: str = "") -> "Figure":
    """Loss (every step faint, every epoch strong) and validation retrieval over epochs."""
    names = [heading("loss"), "Retrieval (validation)"]
    figure, (loss, retrieval) = panels(names, width=3.8, height=3.0, title=title, legend_rows=1)
    steps, values = points(history, "train/loss_step", x="step")
    per_epoch = _steps_per_epoch(history)
    _draw(loss, history, _both("loss"))
    if steps and per_epoch:
        # Not a part of the limits, which single steps would set.
        loss.plot([step / per_epoch for step in steps], values, color=BLUE, alpha=0.3, linewidth=0.7)
    found = zip(logged("val", "recall_at_1", "r_precision", "map_at_r"), (BLUE, GREEN, RED), _STYLES, strict=True)
    _draw(retrieval, history, [Curve(*curve) for curve in found])
    return _finish(figure, best_epoch)


def variance_over_time(history: Sequence[Row], best_epoch: int | None = None, title: str = "") -> "Figure":
    """Intra-class and inter-class variance and their ratio over epochs [CT]."""
    names = ("variance_intra", "variance_inter", "variance_ratio")
    figure, axes = panels([heading(name) for name in names], width=3.3, height=2.9, title=title, legend_rows=1)
    for axis, name in zip(axes, names, strict=True):
        _draw(axis, history, _both(name))
    return _finish(figure, best_epoch)


def greediness_over_time(history: Sequence[Row], best_epoch: int | None = None, title: str = "") -> "Figure":
    """Share of active terms, gradient norms and decay of the loss over epochs [CT]."""
    names = ("active_ratio", "grad_norm", "grad_norm_embedding", "loss_decay_rate")
    figure, (active, norms, samples, decay) = panels(
        [heading(name) for name in names], columns=2, width=4.2, height=3.1, title=title, legend_rows=2
    )
    pairs = _both("active_ratio_pairs", (SKY, ORANGE), (":", "-."))
    _draw(active, history, [*_both("active_ratio"), *pairs], rows=2)
    shares = zip(
        logged("train", "grad_norm", "grad_norm_trunk", "grad_norm_head"), (BLUE, RED, GREEN), _STYLES, strict=True
    )
    _draw(norms, history, [Curve(*curve) for curve in shares], rows=2, log=True)
    pulls = zip(
        logged("train", "grad_norm_embedding", "grad_norm_embedding_active"), (BLUE, RED), _STYLES[:2], strict=True
    )
    _draw(samples, history, [Curve(*curve) for curve in pulls], rows=2, log=True)
    _draw(decay, history, _both("loss_decay_rate"), rows=2)
    decay.set_ylabel("share of the epoch before", fontsize=PLAIN)
    return _finish(figure, best_epoch)


def _both(name: str, colors: tuple[str, str] = (BLUE, RED), styles: tuple[str, str] = ("-", "--")) -> list[Curve]:
    """A metric of training and of validation."""
    keys = (*logged("train", name), *logged("val", name))
    return [Curve(*curve) for curve in zip(keys, colors, styles, strict=True)]


def _legend(key: str, curves: Sequence[Curve]) -> str:
    """What tells a line from the others of its panel: its split, its title, or both."""
    split, _, name = key.rpartition("/")
    parts = [_SPLITS[split]] * (len({curve.key.rpartition("/")[0] for curve in curves}) > 1)
    parts += [title_of(key)] * (len({curve.key.rpartition("/")[2] for curve in curves}) > 1)
    return ", ".join(parts) or title_of(name)


def write_history_figures(
    folder: Path,
    history: Sequence[Row],
    best_epoch: int | None = None,
    title: str = "",
    formats: Sequence[str] = ("png",),
) -> list[Path]:
    """Draw the figures of a history into ``folder`` and return their paths; an empty list without rows.

    Args:
        best_epoch: of the tested checkpoint, from 0.
        title: which run they show.
        formats: of the files.
    """
    if not history:
        return []
    drawn: dict[str, Any] = {
        "training_curves": training_curves,
        "variance_over_time": variance_over_time,
        "greediness_over_time": greediness_over_time,
    }

    def write(name: str) -> list[Path]:
        return save_as(drawn[name](history, best_epoch, title), folder / name, formats)

    return [path for name in drawn for path in guarded(name, partial(write, name)) or []]


def _draw(axis: "Axes", history: Sequence[Row], curves: Sequence[Curve], *, rows: int = 1, log: bool = False) -> None:
    drawn: list[Sequence[float]] = []
    last = 1.0
    for key, color, style in curves:
        epochs, values = points(history, key)
        if values:
            few = len(values) <= 12
            x = [epoch + 1 for epoch in epochs]
            axis.plot(
                x, values, style, color=color, label=_legend(key, curves), marker="o" if few else None, markersize=3.5
            )
            drawn.append(values)
            last = max(last, *x)
    if not drawn:
        axis.text(0.5, 0.5, "not logged", transform=axis.transAxes, ha="center", color=GREY)
        axis.set(xticks=[], yticks=[])
        return
    value_axis(axis, curves[0].key, drawn, log=log)
    axis.set_xlabel("epoch", fontsize=PLAIN)
    epochs_axis(axis, last)
    legend_above(axis, rows)


def _finish(figure: "Figure", best_epoch: int | None) -> "Figure":
    for axis in figure.axes:
        if best_epoch is not None and axis.lines:
            axis.axvline(best_epoch + 1, color=GREY, linewidth=0.9, linestyle=":")
            # Beside the line on the side where there is room.
            late = best_epoch + 1 > sum(axis.get_xlim()) / 2
            axis.annotate(
                "best", (best_epoch + 1, 0.5), (-3 if late else 3, 0), xycoords=axis.get_xaxis_transform(),
                textcoords="offset points", rotation=90, va="center",
                ha="right" if late else "left", fontsize=SMALL, color=GREY,
            )  # fmt: skip
    return figure


def _steps_per_epoch(history: Sequence[Row]) -> float:
    """Mean number of steps per logged epoch, which places steps on the axis of epochs."""
    ends = {row["epoch"]: row["step"] + 1 for row in history if "train/loss" in row}
    return max((steps / (epoch + 1) for epoch, steps in ends.items()), default=0.0)
