"""Figures of a run's history: training curves, variance over time, and greediness of the loss over time.

The functions take rows from :func:`metriscope.run.history.read_history`.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from metriscope.evaluation.metrics import logged, title_of
from metriscope.reports.style import BLUE, GREEN, GREY, ORANGE, RED, SKY, guarded, heading, panels, save
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


def training_curves(history: Sequence[Row], best_epoch: int | None = None) -> "Figure":
    """Loss (every step faint, every epoch strong) and validation retrieval over epochs."""
    figure, (loss, retrieval) = panels([heading("loss"), "Retrieval (validation)"])
    steps, values = points(history, "train/loss_step", x="step")
    per_epoch = _steps_per_epoch(history)
    if steps and per_epoch:
        loss.plot([step / per_epoch for step in steps], values, color=BLUE, alpha=0.25, linewidth=0.8)
    _draw(loss, history, _both("loss"))
    found = zip(logged("val", "recall_at_1", "r_precision", "map_at_r"), (BLUE, GREEN, RED), _STYLES, strict=True)
    _draw(retrieval, history, [Curve(*curve) for curve in found])
    return _finish(figure, best_epoch)


def variance_over_time(history: Sequence[Row], best_epoch: int | None = None) -> "Figure":
    """Intra-class and inter-class variance and their ratio over epochs [CT]."""
    names = ("variance_intra", "variance_inter", "variance_ratio")
    figure, axes = panels([heading(name) for name in names])
    for axis, name in zip(axes, names, strict=True):
        _draw(axis, history, _both(name))
    return _finish(figure, best_epoch)


def greediness_over_time(history: Sequence[Row], best_epoch: int | None = None) -> "Figure":
    """Share of active terms, gradient norms and decay of the loss over epochs [CT]."""
    names = ("active_ratio", "grad_norm", "grad_norm_embedding", "loss_decay_rate")
    figure, (active, norms, samples, decay) = panels([heading(name) for name in names], columns=2)
    _draw(active, history, [*_both("active_ratio"), *_both("active_ratio_pairs", (SKY, ORANGE), (":", "-."))])
    shares = zip(
        logged("train", "grad_norm", "grad_norm_trunk", "grad_norm_head"), (BLUE, RED, GREEN), _STYLES, strict=True
    )
    _draw(norms, history, [Curve(*curve) for curve in shares], log=True)
    pulls = zip(
        logged("train", "grad_norm_embedding", "grad_norm_embedding_active"), (BLUE, RED), _STYLES[:2], strict=True
    )
    _draw(samples, history, [Curve(*curve) for curve in pulls], log=True)
    _draw(decay, history, _both("loss_decay_rate"))
    decay.set_ylabel("share of the epoch before", fontsize=9)
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


def write_history_figures(folder: Path, history: Sequence[Row], best_epoch: int | None = None) -> list[Path]:
    """Draw the figures of a history into ``folder`` and return their paths; an empty list without rows."""
    if not history:
        return []
    drawn: dict[str, Any] = {
        "training_curves": training_curves,
        "variance_over_time": variance_over_time,
        "greediness_over_time": greediness_over_time,
    }

    def write(name: str) -> Path:
        return save(drawn[name](history, best_epoch), folder / f"{name}.png")

    written = [guarded(name, partial(write, name)) for name in drawn]
    return [path for path in written if path]


def _draw(axis: "Axes", history: Sequence[Row], curves: Sequence[Curve], log: bool = False) -> None:
    from matplotlib.ticker import MaxNLocator

    drawn = 0
    for key, color, style in curves:
        epochs, values = points(history, key)
        if values:
            few = len(values) <= 12
            x = [epoch + 1 for epoch in epochs]
            axis.plot(
                x, values, style, color=color, label=_legend(key, curves), marker="o" if few else None, markersize=3.5
            )
            drawn += 1
    if not drawn:
        axis.text(0.5, 0.5, "not logged", transform=axis.transAxes, ha="center", color=GREY)
        axis.set(xticks=[], yticks=[])
        return
    positive = all(value > 0 for curve in curves for value in points(history, curve.key)[1])
    if log and positive:
        axis.set_yscale("log")
    axis.set_xlabel("epoch", fontsize=9)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    left, right = axis.get_xlim()
    axis.set_xlim(min(left, 0.5), max(right, 1.5))
    axis.legend(fontsize=8, frameon=False)


def _finish(figure: "Figure", best_epoch: int | None) -> "Figure":
    for axis in figure.axes:
        if best_epoch is not None and axis.lines:
            axis.axvline(best_epoch + 1, color=GREY, linewidth=0.9, linestyle=":")
            place = axis.get_xaxis_transform()
            axis.text(best_epoch + 1, 0.01, " best", transform=place, fontsize=8, color=GREY)
    return figure


def _steps_per_epoch(history: Sequence[Row]) -> float:
    """Mean number of steps per logged epoch, which places steps on the axis of epochs."""
    ends = {row["epoch"]: row["step"] + 1 for row in history if "train/loss" in row}
    return max((steps / (epoch + 1) for epoch, steps in ends.items()), default=0.0)
