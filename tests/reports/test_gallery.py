from pathlib import Path

import numpy as np
import pytest

from metriscope.reports.gallery import choose_queries, retrieval_gallery
from metriscope.reports.projection import projection
from metriscope.reports.style import save


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
    assert [text for text in texts if text[0] in "✓✗"] == ["✓ cat", "✗ a very …s name", "✗ a very …s name", "✓ cat"]
    assert "random queries" not in texts
    assert save(figure, tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", ["a_$1_to_$2", "caf\udce9", "$\\frac{$", "two\nlines"])
def test_class_names_of_any_characters_are_drawn(tmp_path: Path, name: str) -> None:
    images, labels, neighbors = np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 0]), np.array([[1], [0]])
    figure = retrieval_gallery(images, labels, neighbors, {"worst": [0]}, [name])
    assert save(figure, tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
    plane = projection(np.eye(4, 3), np.array([0, 0, 1, 1]), [name, f"{name}!"])
    assert save(plane, tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_the_gallery_tells_distances_and_files() -> None:
    images, labels, neighbors = np.zeros((2, 1, 4, 4), np.uint8), np.array([0, 0]), np.array([[1], [0]])
    z, paths = np.array([[0.0, 0.0], [3.0, 4.0]]), ["a/one.png", f"b/{'x' * 200}.png"]
    figure = retrieval_gallery(
        images, labels, neighbors, {"worst": [0]}, ["cat"], embeddings=z, paths=paths, title="a run"
    )
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts[0] == "a run"
    assert texts[-5:] == ["cat", "one.png", "✓ cat", "5.00", "xxxxxxxxx…xxxx.png"]


def test_samples_of_a_gallery_are_no_queries() -> None:
    labels, neighbors = np.array([0, 0, 0]), np.array([[1], [-1], [-1]])
    assert choose_queries(labels, neighbors) == {"worst": [0], "random": []}
