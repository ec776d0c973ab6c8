import numpy as np
import pytest

from metriscope.reports.scales import value_axis
from metriscope.reports.style import panels

RECALL = "val/recall_at_1"


def test_bands_do_not_set_the_axis() -> None:
    _, (axis,) = panels(["loss"])
    value_axis(axis, "train/loss", [[1.0, 2.0]], [[-50.0, 3.0], [90.0, np.nan]])
    assert axis.get_ylim() == pytest.approx((0.42, 2.58))


@pytest.mark.parametrize("values", [[0.5, 1.0], [0.0, 0.01], [1.0, 1.0], [0.999, 1.0]])
def test_a_share_has_no_tick_beyond_0_and_1(values: list[float]) -> None:
    _, (axis,) = panels(["recall"])
    value_axis(axis, RECALL, [values], [[-3.0, 4.0]])
    low, high = axis.get_ylim()
    assert low < min(values) <= max(values) < high
    assert all(0 <= tick <= 1 for tick in axis.get_yticks() if low <= tick <= high)


@pytest.mark.parametrize("values", [[1e-9, 1.0], [3e-4, 2e-3], [0.31, 0.93], [5.0, 7e5]])
def test_logarithms_have_plain_labels(values: list[float]) -> None:
    figure, (axis,) = panels(["norm"])
    value_axis(axis, "train/grad_norm", [values], log=True)
    figure.draw_without_rendering()
    labels = [label.get_text() for label in axis.get_yticklabels(which="both")]
    assert axis.get_yscale() == "log"
    assert len(labels) >= 2
    assert not any("$" in label or "times" in label for label in labels)
    assert all(values[0] / 2 <= float(label) <= values[1] * 2 for label in labels)


def test_an_axis_of_nothing_or_of_the_largest_numbers() -> None:
    figure, axes = panels(["a", "b", "c"])
    for axis, values in zip(axes, ([], [np.nan, np.inf], [1.7e308, -1.7e308]), strict=True):
        axis.plot([])
        value_axis(axis, RECALL if len(values) == 2 else "train/loss", [values])
    figure.draw_without_rendering()
