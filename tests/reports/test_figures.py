from pathlib import Path

import numpy as np
import pytest

from metriscope.reports.figures import training_curves, write_history_figures
from metriscope.reports.style import save_as

PNG = b"\x89PNG"


def history(epochs: int) -> list[dict[str, float]]:
    keys = ["train/loss_step", "train/loss", "val/loss", "val/recall_at_1", "val/variance_intra", "train/grad_norm"]
    return [{"epoch": e, "step": 4 * e + 3, **dict.fromkeys(keys, 1.0 / (e + 1))} for e in range(epochs)]


@pytest.mark.parametrize("epochs", [1, 3, 20])
def test_a_history_becomes_three_figures(tmp_path: Path, epochs: int) -> None:
    paths = write_history_figures(tmp_path / "figures", history(epochs), best_epoch=0)
    assert [path.name for path in paths] == [
        "training_curves.png",
        "variance_over_time.png",
        "greediness_over_time.png",
    ]
    assert all(path.read_bytes().startswith(PNG) for path in paths)
    assert sorted(tmp_path.rglob("*.*")) == sorted(paths)


def test_no_history_no_figures(tmp_path: Path) -> None:
    assert write_history_figures(tmp_path, []) == []


def test_curves_show_the_logged_values() -> None:
    loss = training_curves(history(3)).axes[0]
    lines = {line.get_label(): line for line in loss.lines}
    assert list(np.asarray(lines["train"].get_xdata())) == [1, 2, 3]
    assert list(np.asarray(lines["train"].get_ydata())) == [1.0, 1 / 2, 1 / 3]


def test_a_log_axis_only_for_positive_norms() -> None:
    from metriscope.reports.figures import greediness_over_time

    rows = history(3)
    assert greediness_over_time(rows).axes[1].get_yscale() == "log"
    rows[1]["train/grad_norm"] = 0.0
    assert greediness_over_time(rows).axes[1].get_yscale() == "linear"


def test_figures_for_print_name_their_run_and_are_always_the_same(tmp_path: Path) -> None:
    files = []
    for place in ("a", "b"):
        figure = training_curves(history(2), None, "my study")
        files += save_as(figure, tmp_path / place, ["pdf", "svg"])
    assert [path.name for path in files] == ["a.pdf", "a.svg", "b.pdf", "b.svg"]
    pdf, svg, *again = [path.read_bytes() for path in files]
    assert again == [pdf, svg]
    assert b"my study" in svg


@pytest.mark.parametrize("epochs", [1, 2, 7, 100])
def test_epochs_are_whole_and_begin_with_the_first(epochs: int) -> None:
    axis = training_curves(history(epochs)).axes[0]
    low, high = axis.get_xlim()
    ticks = [tick for tick in axis.get_xticks() if low <= tick <= high]
    assert low < 1 <= epochs < high
    assert ticks
    assert all(tick == int(tick) >= 1 for tick in ticks)


def test_legends_stand_above_the_curves() -> None:
    figure = training_curves(history(3), 1, "a run")
    figure.draw_without_rendering()
    for axis in figure.axes:
        legend = axis.get_legend()
        assert legend is not None
        assert legend.get_window_extent().y0 >= axis.get_window_extent().y1
        assert legend.get_window_extent().y1 <= axis._left_title.get_window_extent().y0  # type: ignore[attr-defined]
