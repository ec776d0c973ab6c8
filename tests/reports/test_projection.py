import importlib.util
from pathlib import Path

import numpy as np
import pytest

from metriscope.errors import InputError
from metriscope.reports.projection import (
    MAX_POINTS,
    _evenly,
    _moves,
    check_method,
    principal_plane,
    project,
    projection,
)
from metriscope.reports.style import save


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
    assert save(figure, tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_projection_of_a_collapsed_or_broken_embedding(tmp_path: Path) -> None:
    for z in (np.zeros((5, 3)), np.full((5, 3), np.nan), np.zeros((1, 3)), np.full((5, 3), 1e200)):
        save(projection(z, np.zeros(len(z), dtype=int), ["only"]), tmp_path / "p.png")


def test_names_of_classes_do_not_cover_each_other() -> None:
    moves = _moves(np.array([[0.0, 0.0], [0.0, 0.05], [5.0, 0.0]]), ["class 1", "class 2", "class 3"])
    first, second, third = moves
    assert (first, third) == (0, 0)
    assert second is not None
    assert abs(second + 0.05) >= 0.15
    assert _moves(np.zeros((9, 2)), ["one name"] * 9).count(None) == 2
    figure = projection(np.random.default_rng(0).normal(size=(60, 4)), np.repeat(range(6), 10), list("abcdef"))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) > 3
    assert not [one for at, one in enumerate(boxes) for other in boxes[:at] if one.overlaps(other)]


def test_many_points_are_thinned_evenly_and_always_alike() -> None:
    labels = np.repeat([2, 0, 1], [8000, 8000, 4000])
    chosen = _evenly(labels)
    assert len(set(chosen.tolist())) == MAX_POINTS
    np.testing.assert_allclose(np.bincount(labels[chosen]), [2000, 1000, 2000], atol=1)
    assert (chosen == _evenly(labels)).all()
    assert sorted(_evenly(np.array([1, 0, 1])).tolist()) == [0, 1, 2]


def test_neighbours_stay_neighbours_beside_the_principal_axes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 12)
    z = rng.normal(size=(24, 4)) + 30.0 * labels[:, None]
    plane = project(z, labels, "tsne", seed=3)
    again = project(z, labels, "tsne", seed=3)
    np.testing.assert_array_equal(plane.points, again.points)
    apart = np.linalg.norm(plane.points[:, None] - plane.points, axis=-1) + np.diag(np.full(24, np.inf))
    drawn = labels[plane.places]
    assert (drawn[apart.argmin(axis=1)] == drawn).all()
    assert plane.axes[0].startswith("t-SNE of 24 of 24 points, seed 3, ")
    figure = projection(z, labels, ["a", "b"], title="a run", method="tsne")
    assert [axis.get_xlabel()[:5] for axis in figure.axes] == ["first", "t-SNE"]
    assert project(z[:3], labels[:3], "tsne").axes[0].startswith("first")


@pytest.mark.skipif(importlib.util.find_spec("umap") is not None, reason="the package is there")
def test_umap_needs_its_package() -> None:
    with pytest.raises(InputError, match="pip install umap-learn"):
        check_method("umap", "--projection")
