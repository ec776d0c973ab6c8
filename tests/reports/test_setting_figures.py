"""Figures along a setting: one line per method, one point per value, panels per metric and data set."""

from dataclasses import replace

import pytest
from studies import RECALL, made

from metriscope.reports.comparison import Comparison, compare
from metriscope.reports.setting_figures import along_setting
from metriscope.run.study import Study

BY = ("dataset.name", "sampler.batch_size", "loss.name")


def comparison(values: tuple[object, ...] = (16, 64, 256), data: tuple[str, ...] = ("digits",)) -> Comparison:
    runs = [
        made(0.5 + place / 10 + seed / 100, sampler__batch_size=value, loss__name=loss, seed=seed, dataset__name=name)
        for name in data
        for place, value in enumerate(values)
        for loss in ("infonce", "supcon")
        for seed in range(4)
    ]
    named = [replace(run, name=f"{place}") for place, run in enumerate(runs)]
    return compare(Study("trial", named), BY, [RECALL])


def test_a_line_goes_through_the_mean_at_every_value_of_the_setting() -> None:
    figure = along_setting(comparison(), "sampler.batch_size")
    assert figure is not None
    (axis,) = figure.axes
    assert (axis.get_xscale(), axis.get_xlabel(), len(axis.lines)) == ("log", "batch size", 2)
    for line in axis.lines:
        x, y = line.get_data()
        assert list(x) == pytest.approx([16, 64, 256], rel=0.05)
        assert list(y) == pytest.approx([0.515, 0.615, 0.715])
    assert [text.get_text() for text in axis.get_xticklabels()] == ["16", "64", "256"]


def test_data_sets_have_panels_of_their_own() -> None:
    figure = along_setting(comparison(data=("digits", "mnist")), "sampler.batch_size")
    assert figure is not None
    assert len(figure.axes) == 2


@pytest.mark.parametrize("values", [(16,), ("a", "b")])
def test_without_two_numbers_there_is_no_figure(values: tuple[object, ...]) -> None:
    assert along_setting(comparison(values), "sampler.batch_size") is None
