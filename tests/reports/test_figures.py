from pathlib import Path

import numpy as np
import pytest

from metriscope.reports.figures import training_curves, write_history_figures
from metriscope.reports.gallery import choose_queries, retrieval_gallery
from metriscope.reports.projection import MAX_POINTS, _evenly, principal_plane, projection
from metriscope.reports.style import save

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


def test_the_plane_is_that_of_the_svd_up_to_a_fixed_sign() -> None:
    z = np.random.default_rng(0).normal(size=(50, 6)) * [5, 3, 1, 1, 1, 1]
    plane, share = principal_plane(z)
    u, s, _ = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(plane), np.abs(u[:, :2] * s[:2]), atol=1e-9)
    np.testing.assert_allclose(share, s[:2] ** 2 / (s**2).sum())
    np.testing.assert_allclose(principal_plane(z)[0], plane)


@pytest.mark.parametrize("size", [1, 2, 8])
@pytest.mark.parametrize("classes", [1, 10, 20, 30])
def test_projection_of_any_layout(tmp_path: Path, size: int, classes: int) -> None:
    rng = np.random.default_rng(1)
    z, labels = rng.normal(size=(60, size)), rng.integers(0, classes, 60)
    z[3] = np.nan
    figure = projection(z, labels, [f"class {i}" for i in range(classes)])
    assert (figure.axes[0].get_legend() is not None) == (len(np.unique(labels)) <= 20)
    assert save(figure, tmp_path / "p.png").read_bytes().startswith(PNG)


def test_projection_of_a_collapsed_or_broken_embedding(tmp_path: Path) -> None:
    for z in (np.zeros((5, 3)), np.full((5, 3), np.nan), np.zeros((1, 3))):
        save(projection(z, np.zeros(len(z), dtype=int), ["only"]), tmp_path / "p.png")


def test_many_points_are_thinned_evenly_and_always_alike() -> None:
    labels = np.repeat([2, 0, 1], [8000, 8000, 4000])
    chosen = _evenly(labels)
    assert len(set(chosen.tolist())) == MAX_POINTS
    np.testing.assert_allclose(np.bincount(labels[chosen]), [2000, 1000, 2000], atol=1)
    assert (chosen == _evenly(labels)).all()
    assert sorted(_evenly(np.array([1, 0, 1])).tolist()) == [0, 1, 2]


def test_the_worst_queries_are_those_of_lowest_precision() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    neighbors = np.array([[1, 2], [3, 2], [3, 4], [4, 0], [0, 3], [0, -1]])
    chosen = choose_queries(labels, neighbors, worst=2, chance=2, seed=1)
    assert chosen["worst"] == [2, 1]
    assert set(chosen["random"]) <= {0, 3, 4}
    assert chosen == choose_queries(labels, neighbors, worst=2, chance=2, seed=1)
    assert choose_queries(np.arange(6), neighbors) == {"worst": [], "random": []}


@pytest.mark.parametrize("channels", [1, 3])
def test_the_gallery_marks_hits_and_misses(tmp_path: Path, channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 255, size=(4, channels, 8, 8), dtype=np.uint8)
    labels, neighbors = np.array([0, 0, 1, 1]), np.array([[1, 2, 3], [0, -1, -1], [0, 3, 1], [2, 0, 1]])
    queries = {"worst": [0, 1], "random": []}
    figure = retrieval_gallery(images, labels, neighbors, queries, ["cat", "a very long class name"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert [text for text in texts if text[0] in "✓✗"] == ["✓ cat", "✗ a very long c…", "✗ a very long c…", "✓ cat"]
    assert "random queries" not in texts
    assert save(figure, tmp_path / "g.png").read_bytes().startswith(PNG)
