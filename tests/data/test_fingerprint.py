"""The fingerprint of the data, and what becomes of a run whose data have changed."""

import json
import os
from dataclasses import replace
from itertools import chain

import layouts
import pytest
import torch
from interruptions import At, interrupt
from tiny_runs import TINY

from metriscope.app import train
from metriscope.cli import train as main
from metriscope.config.compose import compose_config
from metriscope.data.datasets import synthetic
from metriscope.data.examples import Examples, Source
from metriscope.data.fingerprint import check_same, difference
from metriscope.data.inputs.boxes import Box, Item
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.splits import split
from metriscope.errors import InputError

SMALL = (
    *("dataset=csv", "dataset.image_size=16", "dataset.num_workers=0", "dataset.validation=0.25"),
    *("backbone=small_cnn", "augmentation=none", "sampler.batch_size=8", "trainer=cpu", "trainer.max_epochs=2"),
    *("logger=none", "logger.figures=false", "diagnostics=none"),
    *("evaluation.metrics.recall_at.k=[1]", "evaluation.classification=false"),
)
CLASSES, EACH = 4, 10


def parted(examples):
    return split(Source(examples, test_share=0.2), "closed_set", validation=0.25)


def files(root, labels=None):
    """The splits of image files, one folder for all."""
    paths = sorted(str(path) for path in root.glob("*.png"))
    labels = [i % CLASSES for i in range(len(paths))] if labels is None else labels
    return parted(Examples.from_labels(ImageFiles(tuple(paths)), labels))


def images(root, count=CLASSES * EACH):
    for number in range(count):
        layouts.image(root / f"{number:02}.png", number % CLASSES, number)
    return root


def vectors(**changes):
    inputs = torch.arange(120.0).view(40, 3)
    train = Examples.from_labels(inputs, [i % CLASSES for i in range(40)])
    return parted(replace(train, **changes)).fingerprint


def test_it_is_plain_and_the_same_every_time(tmp_path):
    for found in (files(images(tmp_path)).fingerprint, vectors()):
        assert json.loads(json.dumps(found)) == found
    assert files(tmp_path).fingerprint == files(tmp_path).fingerprint
    assert vectors() == vectors()
    assert vectors()["times"] is None


def test_where_the_files_are_does_not_count_nor_how_the_folder_is_called(tmp_path, monkeypatch):
    one = files(images(tmp_path / "one")).fingerprint
    other = files(images(tmp_path / "two")).fingerprint
    assert difference(one, other) is None
    monkeypatch.chdir(tmp_path)
    assert files((tmp_path / "one").relative_to(tmp_path)).fingerprint == one


def test_no_image_is_opened(tmp_path, monkeypatch):
    images(tmp_path)
    monkeypatch.setattr("PIL.Image.open", None)
    stats, stat = [], os.stat
    monkeypatch.setattr(os, "stat", lambda path, *a, **k: stats.append(path) or stat(path, *a, **k))
    splits = files(tmp_path)
    stats.clear()
    assert splits.fingerprint["content"]["examples"] == 40
    assert len([path for path in stats if str(path).endswith(".png")]) == 40


def test_what_has_changed_in_files_is_said(tmp_path):
    before = files(images(tmp_path)).fingerprint

    def now(labels=None):
        return difference(before, files(tmp_path, labels).fingerprint)

    assert now() is None
    assert now([i // EACH for i in range(40)]) == "labels differ"
    assert now([i % 5 for i in range(40)]) == "40 images of 5 classes, were 40 of 4"
    (tmp_path / "07.png").write_bytes(b"longer " * 1000)
    assert now() == "files differ in size"
    (tmp_path / "07.png").rename(tmp_path / "7.png")
    assert now() == "file names differ"
    (tmp_path / "7.png").unlink()
    assert now() == "39 images of 4 classes, were 40 of 4"


def test_what_runs_have_recorded_of_files_stays(tmp_path):
    """Else no run on files could be resumed by a later version."""
    content = files(images(tmp_path)).fingerprint["content"]
    sizes = content.pop("sizes")  # goes by the encoder
    assert len(sizes) == 32
    assert content == {
        "examples": 40,
        "classes": 4,
        "parts": {"train": [24, 4], "validation": [8, 4], "test": [8, 4]},
        "files": "4dfe984b32812c87c88562c2b8aa5997",
        "labels": "7b1047fc9ab4662757c6f903878ca956",
        "order": "9d6bc2f7a57c02e828111a6854c09f7b",
    }


def test_boxes_belong_to_the_data(tmp_path):
    paths = sorted(str(path) for path in images(tmp_path).glob("*.png"))
    labels = [i % CLASSES for i in range(len(paths))]

    def found(*boxes):
        inputs = ImageFiles(tuple(paths)).holding(map(Item, paths, [*boxes, *[None] * (len(paths) - len(boxes))]))
        return parted(Examples.from_labels(inputs, labels)).fingerprint

    assert found(None) == files(tmp_path).fingerprint
    one, two = found(Box(0, 0, 5, 5)), found(Box(0, 0, 5, 6))
    assert difference(one, found(Box(0, 0, 5, 5))) is None
    assert difference(one, two) == difference(found(None), one) == difference(one, found(None)) == "boxes differ"


def test_names_of_files_are_relative_to_their_common_folder(tmp_path):
    splits = files(images(tmp_path))
    assert sorted(chain.from_iterable(map(splits.file_names, splits.parts))) == [f"{i:02}.png" for i in range(40)]
    assert splits.file_names("test") == [os.path.basename(path) for path in splits.test.inputs.paths]
    assert (
        split(synthetic.load(classes=3, per_class=4, dimension=2), "closed_set", validation=0).file_names("test")
        is None
    )


def test_other_parts_of_the_same_files(tmp_path):
    splits = files(images(tmp_path))
    swapped = replace(splits, train=splits.test, test=splits.train)
    assert difference(splits.fingerprint, swapped.fingerprint) == "their order or their parts differ"
    backwards = replace(splits, train=splits.train.take(torch.arange(len(splits.train)).flip(0)))
    assert difference(splits.fingerprint, backwards.fingerprint) == "their order or their parts differ"


def test_what_has_changed_in_arrays_is_said():
    before = vectors()
    changed = torch.arange(120.0).view(40, 3)
    changed[17, 1] += 1e-3
    assert difference(before, vectors(inputs=changed)) == "values differ"
    assert difference(before, vectors(inputs=changed.double())) == "values differ"
    assert difference(before, vectors(labels=torch.arange(40) // EACH)) == "labels differ"
    assert difference(before, vectors(classes=("a", "b", "c", "d"))) == "labels differ"
    fewer = parted(Examples.from_labels(torch.zeros(20, 3), [0] * 10 + [1] * 10)).fingerprint
    assert difference(before, fewer) == "20 examples of 2 classes, were 40 of 4"


def test_other_queries():
    splits = split(synthetic.load(classes=3, per_class=4, dimension=2), "closed_set", validation=0)
    asked = replace(splits, queries=torch.arange(12) % 2 == 0)
    assert difference(asked.fingerprint, asked.fingerprint) is None
    other = replace(splits, queries=torch.arange(12) % 3 == 0)
    assert difference(asked.fingerprint, other.fingerprint) == "queries differ"


def test_times_are_apart(tmp_path):
    before = files(images(tmp_path)).fingerprint
    os.utime(tmp_path / "07.png", (1, 1))
    now = files(tmp_path).fingerprint
    assert difference(before, now) is None
    assert before["times"] != now["times"]
    check_same(before, now, tmp_path)


def test_a_file_that_is_gone_is_one_line(tmp_path):
    splits = files(images(tmp_path))
    (tmp_path / "07.png").unlink()
    with pytest.raises(InputError, match=r"cannot read the image .*07\.png: No such file"):
        _ = splits.fingerprint


class Photos:
    """A CSV file of images, and the run that is made on it."""

    def __init__(self, root):
        self.root = root
        self.file = images(root / "photos") / "list.csv"
        self.lines = [f"{number:02}.png,class {number % CLASSES}" for number in range(CLASSES * EACH)]
        self.write(self.lines)

    def write(self, lines):
        layouts.write(self.file, ["path,label", *lines])

    def shuffle_labels(self):
        self.write([f"{number:02}.png,class {number // EACH}" for number in range(CLASSES * EACH)])

    def words(self, *further):
        paths = f"dataset.path={self.file}", f"paths.output_dir={self.root / 'outputs'}"
        return [*SMALL, *paths, f"paths.data_dir={self.root / 'data'}", *further]

    def train(self, *further):
        return train(compose_config(self.words(*further)))

    def stop(self, monkeypatch, *further):
        """Interrupt the run after the first batch of its second epoch."""
        monkeypatch.setattr("metriscope.build.callbacks.progress", lambda: [At(interrupt(), step=5)])
        with pytest.raises(KeyboardInterrupt):
            self.train(*further)
        monkeypatch.setattr("metriscope.build.callbacks.progress", list)


@pytest.fixture
def photos(tmp_path):
    return Photos(tmp_path)


def record(folder):
    return json.loads((folder / "run.json").read_text())


def refusal(photos, *further):
    with pytest.raises(InputError) as refused:
        photos.train(*further)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_fingerprint_is_in_the_record_and_in_the_checkpoint(photos):
    outcome = photos.train()
    found = record(outcome.folder)["data"]
    assert found["content"]["examples"] == 40
    for name in ("best", "last"):
        checkpoint = torch.load(outcome.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert checkpoint["DataModule"]["fingerprint"] == found


def test_csv_with_shuffled_labels_after_finishing(photos, monkeypatch, capsys):
    folder = photos.train().folder
    photos.shuffle_labels()
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    capsys.readouterr()
    assert refusal(photos) == (
        f"the data are not those of {folder} (labels differ): restore them, or set resume=never to run afresh"
    )
    monkeypatch.setattr("sys.argv", ["train.py", *photos.words()])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    shown = capsys.readouterr()
    assert "finished before" not in shown.out
    assert "labels differ" in shown.err
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == files
    again = photos.train("resume=never")
    assert again.folder == folder
    assert not photos.train().trained, "finished, and on the data that are there"
    photos.write(photos.lines)
    assert "labels differ" in refusal(photos)


@pytest.mark.parametrize("loss", ["triplet", "arcface"])
def test_lines_removed_while_interrupted(photos, monkeypatch, loss):
    words = f"loss={loss}", f"miner={'none' if loss == 'arcface' else 'all'}"
    photos.stop(monkeypatch, *words)
    photos.write([line for line in photos.lines if "class 3" not in line])
    monkeypatch.setattr("metriscope.app.Run.record_data", None)
    monkeypatch.setattr("metriscope.build.run.learner_of", None)
    assert "(30 images of 3 classes, were 40 of 4): restore them, or set resume=never" in refusal(photos, *words)
    monkeypatch.undo()
    photos.write(photos.lines)
    outcome = photos.train(*words)
    found = record(outcome.folder)
    assert (found["status"], found["data"]["content"]["classes"]) == ("finished", 4)
    assert found["resumed"] == 2


def test_the_checkpoint_knows_its_data_where_the_record_does_not(photos, monkeypatch):
    photos.stop(monkeypatch)
    (path,) = (photos.root / "outputs").rglob("run.json")
    path.write_text(json.dumps({key: value for key, value in record(path.parent).items() if key != "data"}))
    photos.shuffle_labels()
    assert "(labels differ)" in refusal(photos)


def test_a_run_that_has_no_checkpoint_begins_on_the_data_there_are(photos):
    with pytest.raises(InputError):
        photos.train("sampler.classes_per_batch=9")
    photos.shuffle_labels()
    with pytest.raises(InputError, match=r"sampler\.classes_per_batch"):
        photos.train("sampler.classes_per_batch=9")


def test_copied_files_are_one_warning(photos, monkeypatch, caplog):
    photos.stop(monkeypatch)
    os.utime(photos.root / "photos" / "03.png", (1, 1))
    folder = photos.train().folder
    assert record(folder)["status"] == "finished"
    assert [line.levelname for line in caplog.records if "written anew" in line.message] == ["WARNING"]
    caplog.clear()
    photos.train()
    assert not caplog.records
    os.utime(photos.root / "photos" / "03.png", (2, 2))
    assert not photos.train().trained
    assert [line.levelname for line in caplog.records if "written anew" in line.message] == ["WARNING"]


def test_runs_without_a_fingerprint_are_taken_as_they_are(photos, monkeypatch, caplog):
    folder = photos.train().folder
    path = folder / "run.json"
    path.write_text(json.dumps({key: value for key, value in record(folder).items() if key not in ("data", "format")}))
    photos.shuffle_labels()
    caplog.clear()
    monkeypatch.setattr("metriscope.data.loading.load_splits", None)
    assert not photos.train().trained
    assert not caplog.records


def test_two_working_directories_with_one_path(photos, tmp_path, monkeypatch):
    folders = []
    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "photos").symlink_to(photos.root / "photos")
        monkeypatch.chdir(tmp_path / place)
        outcome = photos.train("dataset.path=photos/list.csv")
        assert outcome.trained, "run, not shown"
        folders.append(outcome.folder)
        assert not photos.train("dataset.path=photos/list.csv").trained
    assert len(set(folders)) == 2


def test_arrays_count_too(tmp_path, monkeypatch):
    words = [*TINY, f"paths.output_dir={tmp_path}"]
    train(compose_config(words))
    load = synthetic.load

    def other(**options):
        source = load(**options)
        source.train.inputs[3, 2] += 1
        return source

    monkeypatch.setattr(synthetic, "load", other)
    with pytest.raises(InputError, match=r"\(values differ\)"):
        train(compose_config(words))
