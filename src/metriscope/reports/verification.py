"""Figures of verification over the pairs of a test set: the ROC curve of a run, and TAR over FAR of many."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metriscope.evaluation.verification.curve import PairCurve
from metriscope.reports.shown_groups import blocks, looks, titled
from metriscope.reports.style import BLUE, GREY, PLAIN, SMALL, panels
from metriscope.reports.table_style import Written
from metriscope.run.study import StudyRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TAR = "test/tar_at_far_1e_"


def roc(curve: PairCurve | None, title: str = "") -> "Figure | None":
    """TAR over FAR on a log scale, with the equal error rate; None where no metric has asked for the curve.

    Args:
        curve: of the pairs.
        title: which run it shows.
    """
    if not curve:
        return None
    far, tar = zip(*((far, tar) for _, far, tar in curve.points() if far > 0), strict=True)
    figure, (axis,) = panels(["ROC curve of pairs (test)"], width=4.4, height=3.4, title=title)
    axis.plot(far, tar, color=BLUE, linewidth=1.5, drawstyle="steps-post")
    axis.set_xscale("log")
    axis.set_xlim(1 / curve.negatives, 1)
    axis.set_ylim(-0.02, 1.02)
    eer = curve.eer
    axis.plot([eer], [1 - eer], "o", color=GREY, markersize=4)
    said = f"EER {eer:.3g}\nAUC {curve.auc:.4g}\n{curve.positives:,} positive pairs\n{curve.negatives:,} negative pairs"
    axis.text(0.97, 0.05, said, transform=axis.transAxes, ha="right", va="bottom", fontsize=SMALL, color=GREY)
    axis.set_xlabel("FAR (false accept rate)", fontsize=PLAIN)
    axis.set_ylabel("TAR (true accept rate)", fontsize=PLAIN)
    return figure


def tar_over_far(written: Written) -> "Figure | None":
    """Mean TAR of every group at the FARs that its runs log, runs as faint points; None where none logs any.

    One panel per data set. A group is drawn at the FARs that all of its runs have.
    """
    groups, key_of_looks = written.comparison.grouping.groups, looks(written)
    found: dict[str, dict[int, dict[int, list[float]]]] = {}
    for data, members in blocks(written).items():
        rates = {place: _rates(groups[place].runs) for place in members}
        if any(rates.values()):
            found[data] = rates
    if not found:
        return None
    figure, axes = panels(
        [f"TAR over FAR, {data}".rstrip(", ") for data in found],
        columns=min(3, len(found)),
        width=3.9,
        height=3.0,
        title=titled(written, "roc"),
        note="mean over runs; faint: single runs",
        key=key_of_looks,
    )
    for axis, rates in zip(axes, found.values(), strict=True):
        for place, values in rates.items():
            color, style, marker = key_of_looks[written.method(groups[place])]
            x = [10.0**-k for k in values]
            axis.plot(
                x, [sum(some) / len(some) for some in values.values()], linestyle=style, color=color, marker=marker,
                markersize=4.5, linewidth=1.5,
            )  # fmt: skip
            axis.plot(x, list(values.values()), ".", color=color, alpha=0.35, markersize=4, mew=0)
        axis.set_xscale("log")
        axis.set_ylim(-0.02, 1.02)
        axis.set_xlabel("FAR (test)", fontsize=PLAIN)
        axis.set_ylabel("TAR (test)", fontsize=PLAIN)
    return figure


def _rates(runs: Sequence[StudyRun]) -> dict[int, list[float]]:
    """Exponent of a FAR -> the TAR of each run, for the FARs that all runs have."""
    shared = set.intersection(*(set(run.metrics) for run in runs)) if runs else set()
    numbers = (key.removeprefix(_TAR) for key in shared if key.startswith(_TAR))
    exponents = sorted(int(number) for number in numbers if number.isdecimal())
    return {k: [run.metrics[f"{_TAR}{k}"] for run in runs] for k in exponents}
