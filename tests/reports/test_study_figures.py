from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from studies import RECALL, made, write_study

from metriscope.reports.comparison import compare
from metriscope.reports.groups import Group
from metriscope.reports.study_figures import embeddings, intervals, over_epochs, write_figures
from metriscope.reports.trajectories import trajectories
from metriscope.run.study import Study, StudyRun, load_study


def with_history(rows: list[dict[str, float]]) -> StudyRun:
    return replace(made(), history=lambda keys: rows)


def test_a_study_becomes_figures(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"contrastive": 0.6, "triplet": 0.9}, seeds=2)
    write_study(tmp_path, {"contrastive": 0.5, "triplet": 0.8}, dataset="digits", seeds=2)
    for run in load_study(folder).runs:
        rng = np.random.default_rng(0)
        kept: dict[str, Any] = {"embeddings": rng.normal(size=(30, 4)), "labels": rng.integers(0, 3, 30)}
        np.savez(run.folder / "embeddings.npz", **kept, classes=np.array(["a", "b", "c"]))
    paths = write_figures(compare(load_study(folder)), tmp_path / "figures")
    names = ["learning_curves", "variance", "greediness", "recall_against_variance", "intervals", "embeddings"]
    assert [path.name for path in paths] == [f"{name}.{kind}" for name in names for kind in ("png", "svg")]
    assert all(path.read_bytes().startswith((b"\x89PNG", b"<?xml")) for path in paths)


def test_a_figure_that_fails_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise ValueError("no such symbol: $10_to_$")

    monkeypatch.setattr("metriscope.reports.study_figures.over_epochs", fail)
    found = compare(load_study(write_study(tmp_path, {"contrastive": 0.6, "triplet": 0.9}, seeds=2)))
    paths = write_figures(found, tmp_path / "figures", ["variance", "intervals"])
    assert [path.name for path in paths] == ["intervals.png", "intervals.svg"]
    warned = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert warned == ["the figure variance is left out (ValueError: no such symbol: $10_to_$)"]


def test_bands_are_t_intervals_at_every_epoch() -> None:
    values = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 7.0], [1.5, 2.5, 6.5]])
    runs = []
    for row in values:
        rows = [{"epoch": epoch, "step": epoch, "train/loss": value} for epoch, value in enumerate(row)]
        runs.append(with_history(rows))
    # A run that stopped early takes part as long as it lasted.
    runs.append(with_history([{"epoch": 0, "step": 0, "train/loss": 1.1}]))
    (found,) = trajectories([Group({}, runs)], ["train/loss", "val/loss"])
    assert found.keys() == {"train/loss"}
    curve = found["train/loss"]
    assert curve.epochs.tolist() == [1, 2, 3]
    assert curve.mean.tolist() == pytest.approx([1.4, 8.5 / 3, 5.5])
    first = np.array([1.0, 2.0, 1.5, 1.1])
    assert curve.half[0] == pytest.approx(stats.t.ppf(0.975, 3) * stats.sem(first))
    assert curve.half[1] == pytest.approx(stats.t.ppf(0.975, 2) * stats.sem(values[:, 1]))
    (single,) = trajectories([Group({}, runs[:1])], ["train/loss"])
    assert np.isnan(single["train/loss"].half).all()


def test_every_history_is_read_once() -> None:
    reads: list[Any] = []
    run = replace(made(), history=lambda keys: reads.append(keys) or [])
    found = trajectories([Group({}, [run])], ["train/loss", "val/loss"])
    assert found == [{}]
    assert reads == [["train/loss", "val/loss"]]
    assert over_epochs(compare(Study("trial", [run])), found, ["train/loss"]) is None


def test_of_many_groups_the_best_are_drawn() -> None:
    runs = [made(0.01 * i, loss__name=f"loss{i:02}", seed=s) for i in range(20) for s in (0, 1)]
    figure = intervals(compare(Study("trial", runs), metrics=[RECALL]))
    assert "best 12 of 20" in figure.axes[0].get_title(loc="left")
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == [f"loss{i:02}" for i in range(8, 20)]


def test_no_embeddings_no_figure() -> None:
    assert embeddings(compare(Study("trial", [made()]))) is None
