"""Figures of verification show the points that were counted, and the rates that runs log."""

import numpy as np
import pytest
import torch
from studies import made

from metriscope.evaluation.verification.of_set import Verification
from metriscope.reports.comparison import compare
from metriscope.reports.table_style import Written
from metriscope.reports.verification import roc, tar_over_far
from metriscope.run.study import Study, StudyRun


def test_the_curve_of_a_run_begins_at_one_pair_and_ends_at_all() -> None:
    z, labels = torch.randn(60, 4, generator=torch.Generator().manual_seed(0)), torch.arange(60) % 5
    curve = Verification(z, labels).curve
    figure = roc(curve, "a run")
    assert figure is not None
    (axis,) = figure.axes
    far, tar = (np.asarray(values) for values in axis.lines[0].get_data())
    assert (far[-1], tar[-1]) == (1, 1)
    assert far[0] >= 1 / curve.negatives == pytest.approx(axis.get_xlim()[0])
    assert curve.eer == pytest.approx(float(np.asarray(axis.lines[1].get_xdata())[0]))
    assert roc(None) is None
    assert roc(Verification(z, labels * 0).curve) is None


def test_groups_are_drawn_at_the_rates_that_all_of_their_runs_log() -> None:
    def run(loss: str, seed: int, **tar: float) -> StudyRun:
        metrics = {f"test/tar_at_far_1e_{k[1:]}": value for k, value in tar.items()} | {"test/recall_at_1": 0.5}
        return made(metrics, loss__name=loss, seed=seed)

    runs = [run("a", 0, k2=0.8, k3=0.6), run("a", 1, k2=0.9), run("b", 0, k2=0.5, k4=0.25), run("c", 0)]
    figure = tar_over_far(Written(compare(Study("s", runs))))
    assert figure is not None
    means = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.5]
    drawn = [(list(line.get_xdata()), list(line.get_ydata())) for line in means]
    assert ([1e-2], [pytest.approx(0.85)]) in drawn
    assert ([1e-2, 1e-4], [0.5, 0.25]) in drawn
    assert tar_over_far(Written(compare(Study("s", [run("c", 0), run("d", 0)])))) is None
