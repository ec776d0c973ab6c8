from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from studies import RECALL, made, write_study

from metriscope.reports.comparison import compare
from metriscope.reports.embedding_figures import embeddings
from metriscope.reports.groups import Group
from metriscope.reports.shown_groups import looks
from metriscope.reports.study_figures import intervals, over_epochs, write_figures
from metriscope.reports.table_style import Written
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
    names = [
        "learning_curves",
        "variance",
        "greediness",
        "recall_against_variance",
        "intervals",
        "embeddings",
        "confused_classes",
    ]
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
    assert over_epochs(Written(compare(Study("trial", [run]))), found, ["train/loss"]) is None


def test_of_many_groups_the_best_are_drawn() -> None:
    runs = [made(0.01 * i, loss__name=f"loss{i:02}", seed=s) for i in range(20) for s in (0, 1)]
    figure = intervals(Written(compare(Study("trial", runs), metrics=[RECALL])))
    assert "best 12 of 20" in figure.axes[0].get_title(loc="left")
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == [f"loss{i:02}" for i in range(8, 20)]


def test_no_embeddings_no_figure() -> None:
    assert embeddings(Written(compare(Study("trial", [made()])))) is None


def _curves(values: list[list[float]], **changes: Any) -> list[StudyRun]:
    """Runs of one method with these Recall@1 over epochs, one run per seed."""
    runs = []
    for seed, row in enumerate(values):
        rows = [{"epoch": e, "step": e, "val/recall_at_1": v, "train/loss": 1 - v} for e, v in enumerate(row)]
        runs.append(replace(made(seed=seed, **changes), history=lambda keys, rows=rows: rows))
    return runs


def _drawn(runs: list[StudyRun], key: str) -> Any:
    found = compare(Study("trial", runs), by=["loss.name"])
    figure = over_epochs(Written(found), trajectories(found.grouping.groups, [key]), [key])
    assert figure is not None
    return figure


def test_a_band_of_a_share_stays_within_0_and_1() -> None:
    figure = _drawn(_curves([[0.0, 0.98], [0.1, 1.0], [0.0, 1.0], [0.0, 0.99]]), "val/recall_at_1")
    (band,) = figure.axes[0].collections
    edges = band.get_paths()[0].vertices[:, 1]
    assert (edges.min(), edges.max()) == (0, 1)
    assert figure.texts[0].get_text().startswith("trial: ")


def test_below_four_repeats_the_runs_are_drawn() -> None:
    figure = _drawn(_curves([[0.1, 0.8], [0.3, 0.9], [0.2, 1.0]]), "val/recall_at_1")
    (axis,) = figure.axes
    assert not axis.collections
    assert [line.get_ydata().tolist() for line in axis.lines[:3]] == [[0.1, 0.8], [0.3, 0.9], [0.2, 1.0]]
    assert len(_drawn(_curves([[0.1, 0.8]]), "val/recall_at_1").axes[0].lines) == 1


def test_a_method_looks_alike_in_all_panels_and_figures() -> None:
    runs = [
        made(0.1 * i + 0.01 * s, loss__name=f"loss{i}", dataset__name=data, seed=s)
        for i in range(8)
        for data in ("a", "b")
        for s in (0, 1)
        if (i, data) != (0, "a")
    ]
    found = Written(compare(Study("trial", runs), ["dataset.name", "loss.name"], metrics=[RECALL]))
    of_method: dict[str, set[str]] = {}
    for axis in intervals(found).axes:
        names = [tick.get_text() for tick in axis.get_yticklabels()]
        for line in axis.lines:
            of_method.setdefault(names[int(line.get_ydata()[0])], set()).add(line.get_color())
    assert len(of_method) == 8
    assert all(len(colors) == 1 for colors in of_method.values())
    assert len(set.union(*of_method.values())) == 8
    assert looks(found)["loss3"].color in of_method["loss3"]


def test_losses_of_other_scales_share_a_panel() -> None:
    runs = _curves([[0.0, 0.5]], loss__name="one")
    large = [{"epoch": e, "step": e, "train/loss": v} for e, v in enumerate([300.0, 30.0])]
    runs.append(replace(made(loss__name="two"), history=lambda keys: large))
    axis = _drawn(runs, "train/loss").axes[0]
    assert [line.get_ydata().tolist() for line in axis.lines] == [[1.0, 0.5], [1.0, 0.1]]
    assert "share of largest" in axis.get_title(loc="left")


def test_names_of_200_characters_and_no_common_metric(tmp_path: Path) -> None:
    long = "x" * 200
    runs = [made({RECALL: 0.5}, loss__name=f"a{long}"), made({"test/map_at_r": 0.5}, loss__name=f"b{long}")]
    found = compare(Study(long, runs), by=["loss.name"])
    paths = write_figures(found, tmp_path / "figures", formats=["svg"])
    assert [path.name for path in paths] == ["intervals.svg"]
    assert "…" in paths[0].read_text(encoding="utf-8")
    bare = compare(Study("s", [made({"test/own": 1.0})]))
    assert bare.metrics == []
    assert write_figures(bare, tmp_path / "figures") == []


def test_what_cannot_be_read_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    study = load_study(write_study(tmp_path, {"contrastive": 0.6, "triplet": 0.9}, seeds=1))
    cut, broken = (run.folder for run in study.runs)
    assert cut is not None
    assert broken is not None
    lines = (cut / "metrics.csv").read_text().splitlines(keepends=True)
    (cut / "metrics.csv").write_text("".join(lines[: len(lines) // 2]))
    (broken / "embeddings.npz").write_bytes(b"PK")
    found = compare(study)
    for _ in range(2):
        write_figures(found, tmp_path / "figures", ["variance", "embeddings", "confused_classes"], ["svg"])
    first, second = caplog.messages
    assert first == f"{cut}/metrics.csv has 1 of the 3 epochs that were trained: the rest of its curves is missing"
    assert second.startswith(f"{broken}/embeddings.npz is not readable (")
    assert second.endswith("): delete it; its embeddings are left out")
