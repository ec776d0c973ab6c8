from pathlib import Path

import numpy as np
import pytest

from metriscope.errors import InputError
from metriscope.reports.embedded import _neighbours
from metriscope.run.embeddings import read_embeddings


@pytest.mark.parametrize("order", ["C", "F"])
def test_saved_embeddings_are_read_as_they_are(tmp_path: Path, order: str) -> None:
    z = np.array(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32), order=order)
    names = np.array(["a", "caf\udce9"])
    np.savez(tmp_path / "embeddings.npz", embeddings=z, labels=np.array([0, 1, 1, 0, 0]), classes=names)
    found = read_embeddings(tmp_path)
    assert found is not None
    np.testing.assert_array_equal(found.embeddings, z)
    assert (found.labels.tolist(), found.classes) == ([0, 1, 1, 0, 0], names.tolist())


def test_names_of_files_come_with_them_where_there_are_any(tmp_path: Path) -> None:
    arrays = {"embeddings": np.eye(2, dtype=np.float32), "labels": np.array([0, 0]), "classes": np.array(["a"])}
    np.savez(tmp_path / "embeddings.npz", **arrays)
    found = read_embeddings(tmp_path)
    assert found is not None
    assert found.paths is None
    names = ["a/1.jpg", "b/caf\udce9.jpg"]
    np.savez(tmp_path / "embeddings.npz", **arrays, paths=np.array(names))
    found = read_embeddings(tmp_path)
    assert found is not None
    assert found.paths == names
    np.savez(tmp_path / "embeddings.npz", **arrays, paths=np.array(names[:1]))
    with pytest.raises(InputError, match="the paths do not fit the labels"):
        read_embeddings(tmp_path)


def test_none_were_saved(tmp_path: Path) -> None:
    assert read_embeddings(tmp_path) is None
    (tmp_path / "embeddings.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match="is not readable"):
        read_embeddings(tmp_path)


def test_sides_are_read_and_neighbours_are_across_them(tmp_path: Path) -> None:
    z, side = np.array([[0.0], [0.1], [5.0], [0.2], [4.9], [5.1]], dtype=np.float32), np.array([0, 0, 0, 1, 1, 1])
    arrays = {"embeddings": z, "labels": np.array([0, 0, 1, 0, 1, 1]), "classes": np.array(["a", "b"])}
    np.savez(tmp_path / "embeddings.npz", **arrays, side=side)
    found = read_embeddings(tmp_path)
    assert found is not None
    np.testing.assert_array_equal(found.side, side)
    assert _neighbours(found)[1][:, 0].tolist() == [3, 3, 4, 1, 2, 2]
    np.savez(tmp_path / "embeddings.npz", **arrays, side=side + 1)
    with pytest.raises(InputError, match="the sides do not fit the labels"):
        read_embeddings(tmp_path)
