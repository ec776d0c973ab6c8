"""Embedding into a file: stopped and killed jobs go on, done ones are not done again, others are not replaced."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import parquet
from served import embedder, write_images

from metriscope.errors import InputError
from metriscope.serving import jobs
from metriscope.serving.images import listed_paths
from metriscope.serving.jobs import check_output, embed_to_file
from metriscope.serving.outputs import format_of


@pytest.fixture(scope="module")
def model():
    return embedder()


@pytest.fixture
def photos(tmp_path):
    return write_images(tmp_path / "photos")


@pytest.fixture
def job(model, photos, tmp_path):
    def go(name="x.npz", images=(photos,), by=model, **options):
        output = tmp_path / name
        return embed_to_file(by, listed_paths(images), output, format_of(output), **{"batch_size": 4, **options})

    return go


@pytest.fixture
def read(model, monkeypatch):
    """Names of the files that are read, in any order."""
    names = []
    pixels = model.preparation.pixels

    def note(item):
        names.append(os.fspath(item))
        return pixels(item)

    monkeypatch.setattr(model.preparation, "pixels", note)
    return names


def stop_after(images):
    def progress(done, total):
        if done >= images:
            raise KeyboardInterrupt("stopped by SIGTERM")

    return progress


def test_the_arrays_and_what_is_said_of_them(job, model, photos, tmp_path):
    assert job() == (24, [], False)
    known = model.embed(photos, batch_size=4)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["embeddings", "labels", "metadata", "paths"]
        assert arrays["embeddings"].dtype == np.float32
        assert np.array_equal(arrays["embeddings"], known.embeddings.numpy())
        assert arrays["paths"].tolist() == known.paths
        assert arrays["labels"].tolist() == known.labels
        metadata = json.loads(str(arrays["metadata"]))
    assert metadata["model"] == model.digest
    assert (metadata["images"], metadata["precision"], metadata["root"]) == (24, "fp32", str(photos))
    assert not (tmp_path / "x.npz.part").exists()


def test_parquet_holds_the_same(job, model, photos, tmp_path):
    job("x.parquet")
    table = parquet.read_table(tmp_path / "x.parquet")
    known = model.embed(photos, batch_size=4)
    assert np.array_equal(np.array(table["embeddings"].to_pylist(), np.float32), known.embeddings.numpy())
    assert table["paths"].to_pylist() == known.paths
    assert table["labels"].to_pylist() == known.labels
    assert job("x.parquet").before


def test_a_stopped_job_goes_on_where_it_was_and_comes_to_the_same(job, read, tmp_path):
    job("whole.npz")
    with pytest.raises(KeyboardInterrupt, match=r"stopped by SIGTERM: 8 of 24 images are embedded, .* goes on"):
        job(progress=stop_after(8))
    assert not (tmp_path / "x.npz").exists()
    read.clear()
    assert job() == (24, [], False)
    assert len(read) == 16
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "x.npz") as found:
        assert all(np.array_equal(whole[name], found[name]) for name in whole)


def test_a_killed_job_has_its_sealed_parts_and_damaged_ones_are_made_again(job, read, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "SECONDS", -1.0)
    job("whole.npz")
    with pytest.raises(KeyboardInterrupt):
        job(progress=stop_after(16))
    folder = tmp_path / "x.npz.part"
    parts = sorted(folder.iterdir())
    assert [path.name for path in parts] == [f"{at:09}-{at + 4:09}.part" for at in range(0, 16, 4)]
    content = bytearray(parts[1].read_bytes())
    content[len(content) // 2] ^= 1
    parts[1].write_bytes(content)
    shutil.copy(parts[0], folder / "000000000-000000008.part")
    torch.save({"header": {}}, parts[2])
    (folder / "notes.txt").write_text("mine")
    read.clear()
    job()
    assert len(read) == 16
    with np.load(tmp_path / "whole.npz") as whole, np.load(tmp_path / "x.npz") as found:
        assert all(np.array_equal(whole[name], found[name]) for name in whole)
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("change", ["model", "precision", "file", "list"])
def test_parts_and_outputs_of_something_else_are_not_used(job, model, photos, tmp_path, read, change):
    with pytest.raises(KeyboardInterrupt):
        job(progress=stop_after(12))
    shutil.copytree(tmp_path / "x.npz.part", tmp_path / "y.npz.part")
    job()
    options = {}
    if change == "model":
        options["by"] = embedder(seed=1)
    elif change == "precision":
        options["precision"] = "bf16"
    elif change == "file":
        os.utime(photos / "class 0" / "0.png", ns=(1, 1))
    else:
        options["images"] = (photos / "class 0", photos / "class 1")
    with pytest.raises(InputError, match=r"x.npz is there, and damaged or not of this model.*--overwrite"):
        job(**options)
    read.clear()
    assert not job("y.npz", **options).before
    assert change == "model" or len(read) == (12 if change == "list" else 24)
    assert not job(overwrite=True, **options).before
    assert job(**options).before


def test_a_finished_job_is_not_done_again(job, read, tmp_path):
    job()
    before = (tmp_path / "x.npz").stat()
    read.clear()
    assert job() == (24, [], True)
    assert read == []
    assert (tmp_path / "x.npz").stat().st_mtime_ns == before.st_mtime_ns
    (tmp_path / "x.npz").write_bytes(b"of somebody else")
    with pytest.raises(InputError, match="is there, and damaged or not of this model"):
        job()


def test_images_that_cannot_be_read(job, photos, tmp_path):
    broken = photos / "class 2" / "3.png"
    broken.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"cannot read the image .*3.png"):
        job()
    done = job(unreadable="skip")
    assert (done.images, len(done.skipped)) == (23, 1)
    assert job(unreadable="skip") == (23, done.skipped, True)
    with pytest.raises(InputError, match=r"cannot read the image .*3.png.*; .*x.npz was made without it"):
        job()
    with pytest.raises(InputError, match="none of 1 images can be read"):
        job("y.npz", images=(broken,), unreadable="skip")


@pytest.mark.parametrize("name", ["x.npz", "x.parquet"])
def test_a_damaged_output_is_not_done(job, model, photos, tmp_path, name):
    job(name)
    first = model.embed(photos, batch_size=4).embeddings.numpy().tobytes()[:8]
    content = bytearray((tmp_path / name).read_bytes())
    content[content.index(first)] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="is there, and damaged"):
        job(name)


def test_two_processes_do_not_make_the_same_output(job, tmp_path):
    def second(done, total):
        with pytest.raises(InputError, match=r"x\.npz is being made by another process: wait for it"):
            job()

    assert job(progress=second).images == 24
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("x")] == ["x.npz"]


def test_a_refused_job_leaves_nothing(job, photos, tmp_path):
    (photos / "class 0" / "0.png").write_bytes(b"")
    with pytest.raises(InputError, match="cannot read the image"):
        job()
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_a_link_to_nothing_is_an_image_that_cannot_be_read(job, photos):
    (photos / "class 1" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(InputError, match=r"gone\.png"):
        job()
    done = job(unreadable="skip")
    assert (done.images, len(done.skipped)) == (24, 1)


def test_folders_behind_links_are_searched_once(photos):
    (photos / "class 1" / "above").symlink_to("..")
    (photos.parent / "linked").mkdir()
    (photos.parent / "linked" / "class 1").symlink_to(photos / "class 1")
    assert len(listed_paths([photos]).items) == 24
    assert listed_paths([photos.parent / "linked"]).labels[:6] == ["class 1"] * 6


def test_a_folder_that_cannot_be_read_is_not_passed_over(photos, monkeypatch):
    scandir = os.scandir

    def refusing(folder):
        if os.fspath(folder).endswith("class 2"):
            raise PermissionError(13, "Permission denied", os.fspath(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(InputError, match="class 2 cannot be read: Permission denied"):
        listed_paths([photos])


def test_several_folders_and_files_keep_their_places(job, photos, tmp_path):
    Image.new("RGB", (20, 20)).save(tmp_path / "one.png")
    job(images=(tmp_path / "one.png", photos))
    with np.load(tmp_path / "x.npz") as arrays:
        assert arrays["paths"][:2].tolist() == [str(tmp_path / "one.png"), str(photos / "class 0" / "0.png")]
        assert arrays["labels"][:2].tolist() == ["", "class 0"]


def test_outputs_that_cannot_be(tmp_path):
    for name, line in [("none/x.npz", "there is no folder"), ("", "is no file"), ("link.npz", "is a link")]:
        (tmp_path / "link.npz").unlink(missing_ok=True)
        (tmp_path / "link.npz").symlink_to(tmp_path / "there.npz")
        with pytest.raises(InputError, match=line):
            check_output(tmp_path / name)
    with pytest.raises(InputError, match=r"has to end in .npz or .parquet"):
        format_of(tmp_path / "x.csv")


def test_parquet_without_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'metriscope\[tables\]'"):
        format_of(tmp_path / "x.parquet")
