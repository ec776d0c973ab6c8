"""Saved galleries: what is saved is loaded, and nothing else."""

import pytest
import torch
from served import embedder, write_images

from metriscope import tensor_files
from metriscope.errors import InputError
from metriscope.serving.embedded import Embedded
from metriscope.serving.galleries import load_saved, save


@pytest.fixture(scope="module")
def model():
    return embedder()


@pytest.fixture(scope="module")
def gallery(model, tmp_path_factory):
    return model.embed(write_images(tmp_path_factory.mktemp("photos") / "images"))


def test_a_saved_gallery_is_searched_as_the_one_that_was_saved(model, gallery, tmp_path):
    model.save_gallery(gallery, tmp_path / "x.index")
    found = model.load_gallery(tmp_path / "x.index")
    assert torch.equal(found.embeddings, gallery.embeddings)
    assert (found.model, found.paths, found.labels) == (gallery.model, gallery.paths, gallery.labels)
    assert found.file(3) == gallery.file(3)
    queries = Embedded(gallery.embeddings[:5], gallery.model)
    known, other = model.search(queries, gallery, k=4), model.search(queries, found, k=4)
    assert torch.equal(known.indices, other.indices)
    assert torch.equal(known.distances, other.distances)


def test_names_of_any_kind_are_kept(tmp_path):
    names = ["", "\udcff\n.png", "a b.png"]
    save(Embedded(torch.eye(3), "m", names, names, ("one",)), tmp_path / "x.index")
    found = load_saved(tmp_path / "x.index")
    assert (found.paths, found.labels, found.skipped) == (names, names, ("one",))
    for embeddings, paths in [(torch.eye(3), None), (torch.empty(0, 3), [])]:
        save(Embedded(embeddings, "m", paths), tmp_path / "x.index")
        assert (load_saved(tmp_path / "x.index").paths, load_saved(tmp_path / "x.index").labels) == (paths, None)


def test_files_that_are_no_gallery_are_refused_in_a_line(gallery, tmp_path):
    path = tmp_path / "x.index"
    with pytest.raises(InputError, match="no such file or folder"):
        load_saved(path)
    save(gallery, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="is damaged: its bytes are not those that were written"):
        load_saved(path)
    path.write_bytes(b"no gallery")
    with pytest.raises(InputError, match="give a folder, or a file that metriscope index has made"):
        load_saved(path)
    tensor_files.save({"gallery": object()}, path)
    with pytest.raises(InputError, match="could run code when loaded"):
        load_saved(path)
    with pytest.raises(InputError, match="is a folder"):
        load_saved(tmp_path)
    whole = {"gallery": 1, "model": "m", "embeddings": torch.eye(2), "paths": None, "labels": None, "skipped": []}
    whole |= {"root": "/", "facts": {}}
    for change, line in [
        ({"gallery": 2}, "a later version of Metriscope wrote it"),
        ({"gallery": "1"}, "is no gallery"),
        ({"embeddings": torch.eye(2).double()}, "is no gallery"),
        ({"embeddings": [1.0]}, "is no gallery"),
        ({"paths": "a\0"}, "is no gallery"),
        ({"labels": 3}, "is no gallery"),
        ({"model": 3}, "is no gallery"),
    ]:
        tensor_files.save({**whole, **change}, path)
        with pytest.raises(InputError, match=line):
            load_saved(path)


def test_a_gallery_of_another_model_is_refused(gallery, tmp_path):
    other = embedder(seed=1)
    with pytest.raises(InputError, match="the gallery was embedded by another model"):
        other.save_gallery(gallery, tmp_path / "x.index")
    save(gallery, tmp_path / "x.index")
    with pytest.raises(InputError, match=r"x.index was embedded by another model \(.{8}, and this one is .{8}\)"):
        other.load_gallery(tmp_path / "x.index")
