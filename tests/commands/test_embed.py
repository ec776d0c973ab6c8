"""``metriscope embed``: the file it writes, what it prints, what it refuses, and that it can be stopped."""

import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from metriscope import cli, load
from metriscope.serving.preparation import Preparation


@pytest.fixture
def call(capsys):
    def go(*words, command="embed"):
        code = cli.run(command, [str(word) for word in words])
        shown = capsys.readouterr()
        assert shown.err.count("\n") <= 1, shown.err
        return code, shown.out, shown.err

    return go


def test_a_file_of_embeddings(served, call, tmp_path):
    run, photos = served
    output = tmp_path / "x.npz"
    assert call(run, photos, "-o", output, "--device", "cpu") == (0, f"{output}: 24 images x 8\n", "")
    with np.load(output) as arrays:
        known = load(run).embed(photos)
        assert np.array_equal(arrays["embeddings"], known.embeddings.numpy())
    assert call(run, photos, "-o", output)[1] == f"{output}: done before, 24 images x 8; --overwrite does it again\n"
    assert call(run, photos, "-o", output, "--overwrite")[1] == f"{output}: 24 images x 8\n"


def test_a_stopped_command_says_so_and_goes_on(served, call, tmp_path, monkeypatch):
    run, photos = served
    output = tmp_path / "x.npz"
    pixels, seen = Preparation.pixels, []

    def stopped(self, item):
        seen.append(item)
        if len(seen) == 12:
            os.kill(os.getpid(), signal.SIGTERM)
        return pixels(self, item)

    monkeypatch.setattr(Preparation, "pixels", stopped)
    code, out, err = call(run, photos, "-o", output, "--batch-size", 2)
    assert (code, out) == (130, "")
    assert err.startswith("metriscope: stopped by SIGTERM: ")
    assert "of 24 images are embedded, and the same command goes on from there" in err
    assert not output.exists()
    assert call(run, photos, "-o", output, "--batch-size", 2)[0] == 0
    assert list(tmp_path.iterdir()) == [output]


def test_skipped_images_are_told(served, tmp_path, capsys):
    run, photos = served
    for number in range(7):
        (tmp_path / f"{number}.png").write_bytes(b"no image")
    words = [run, photos, tmp_path, "-o", tmp_path / "x.npz", "--unreadable", "skip"]
    for told in ("24 images", "done before, 24 images"):
        assert cli.run("embed", list(map(str, words))) == 0
        shown = capsys.readouterr()
        assert told in shown.out
        first, *names = shown.err.splitlines()
        assert first == "skipped 7 images that cannot be read, such as the first 5:"
        assert [f"{number}.png" in name for number, name in enumerate(names)] == [True] * 5


def test_what_is_wrong_is_said_in_a_line(served, call, tmp_path):
    run, photos = served
    output = tmp_path / "x.npz"
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"no image")
    for words, line in [
        ([tmp_path, photos, "-o", output], "is no folder of a run"),
        ([run, tmp_path / "empty", "-o", output], "holds no image"),
        ([run, tmp_path / "none", "-o", output], "no such file or folder"),
        ([run, tmp_path / "broken.png", "-o", output], "cannot read the image"),
        ([run, photos, "-o", tmp_path / "none" / "x.npz"], "there is no folder"),
        ([run, photos, "-o", tmp_path / "x.txt"], "has to end in .npz or .parquet"),
        ([run, photos], "the following arguments are required: -o/--output"),
        ([run, photos, "-o", output, "--batch-size", 0], "has to be a whole number from 1 on"),
        ([run, photos, "-o", output, "--device", "nowhere"], "--device nowhere: "),
        ([run, photos, "-o", output, "--precision", "fp8"], "invalid choice: 'fp8'"),
    ]:
        code, out, err = call(*words)
        assert (code, out) == (2, "")
        assert line in err
    assert not output.exists()


def test_runs_that_are_no_models_are_refused_in_a_line(served, call, tmp_path):
    run, photos = served
    copy = tmp_path / run.name
    shutil.copytree(run, copy)
    words = [copy, photos, "-o", tmp_path / "x.npz"]
    for path in (copy / "checkpoints").iterdir():
        path.write_bytes(b"broken")
    assert "the run has to be trained again" in call(*words)[2]
    shutil.rmtree(copy / "checkpoints")
    assert ".ckpt is not there" in call(*words)[2]
    assert "last.ckpt is not there" in call(*words, "--checkpoint", "last")[2]
    record = copy / "run.json"
    record.write_text(record.read_text().replace('"finished"', '"failed"'))
    assert "is not finished (failed)" in call(*words)[2]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_cannot_be_written(served, call, tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot write" in call(*served, "-o", tmp_path / "x.npz")[2]


def test_a_full_disk_is_said_in_a_line(served, call, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", "x.npz")

    monkeypatch.setattr("numpy.savez", full)
    code, _, err = call(*served, "-o", tmp_path / "x.npz")
    assert (code, err) == (2, "metriscope: cannot write x.npz: No space left on device\n")


@pytest.mark.processes
def test_the_commands_import_neither_lightning_nor_hydra_nor_wandb(served, tmp_path):
    run, photos = served
    code = f"""
import sys
from metriscope.cli import run
model, photos, index = {str(run)!r}, {str(photos)!r}, {str(tmp_path / "x.index")!r}
assert run("embed", [model, photos, "-o", {str(tmp_path / "x.npz")!r}]) == 0
assert run("index", [model, photos, "-o", index]) == 0
assert run("search", [model, photos, index, "--html", {str(tmp_path / "x.html")!r}]) == 0
names = ("pytorch_lightning", "lightning_fabric", "hydra", "wandb", "torchmetrics", "matplotlib")
print([name for name in names if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_cuda_is_chosen_where_there_is_one(monkeypatch):
    from metriscope.commands.model_words import _device

    for there, name in [(True, "cuda"), (False, "cpu")]:
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert _device(None) == name
