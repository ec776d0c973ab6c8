"""``metriscope data audit`` in process, on a small folder of image files."""

import csv
import io
import json
import re
from base64 import b64decode

import numpy as np
import pytest
from PIL import Image
from tiny_runs import COMPOSER

from metriscope import cli
from metriscope.commands.data_audit import _check_writable


def picture(seed):
    coarse = np.random.default_rng(seed).integers(20, 230, (4, 4, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((48, 40), Image.Resampling.BICUBIC)


@pytest.fixture
def photos(tmp_path):
    """Two classes with a train and a test folder, in which all is well."""
    root = tmp_path / "photos"
    for number, (part, name) in enumerate((p, c) for p in ("train", "test") for c in ("<b>cat", "dog")):
        (root / part / name).mkdir(parents=True)
        for place in range(3):
            picture(10 * number + place).save(root / part / name / f"{place}.png")
    return root


@pytest.fixture
def audit(photos, monkeypatch):
    monkeypatch.setattr("metriscope.commands.data_audit.compose_config", lambda words, folder: COMPOSER(words))

    def run(*words):
        sound = ["dataset=folder", f"dataset.path={photos}", "dataset.validation=0"]
        return cli.run("data", ["audit", *sound, *map(str, words)])

    return run


def test_a_sound_data_set(audit, capsys):
    assert audit("--strict") == 0
    shown = capsys.readouterr().out
    assert "Recall@1 at best" in shown
    assert "100.00%" in shown
    assert "with different labels:" not in shown


def test_what_is_found_is_named_counted_and_written(audit, photos, tmp_path, capsys):
    picture(0).save(photos / "train" / "dog" / "copy.png")  # of a cat
    picture(30).save(photos / "test" / "<b>cat" / "3.png")  # of a dog in test
    picture(11).save(photos / "test" / "dog" / "leak.jpg", quality=60)  # of a dog in train
    (photos / "test" / "dog" / "broken.png").write_bytes(b"no image")
    files = [tmp_path / f"audit.{kind}" for kind in ("html", "json", "csv")]
    assert audit("--html", files[0], "--json", files[1], "--csv", files[2]) == 0
    shown = capsys.readouterr().out
    assert "identical, with different labels: 2\n" in shown
    assert "train [<b>cat] train/<b>cat/0.png; train [dog] train/dog/copy.png (same bytes)\n" in shown
    assert "near duplicates in two parts: 1\n" in shown
    assert "cannot be read: 1\n" in shown

    page = files[0].read_text(encoding="utf-8")
    assert page.count("<img ") == 6
    pictures = re.findall("src='data:image/jpeg;base64,([^']+)'", page)
    assert [Image.open(io.BytesIO(b64decode(one))).size for one in pictures] == [(48, 40)] * 6
    assert "&lt;b&gt;cat" in page
    assert "<b>cat" not in page

    whole = json.loads(files[1].read_text(encoding="utf-8"))
    assert whole["dataset"] == "folder"
    assert whole["counts"]["identical_conflicts"] == {"train": 1, "test": 1, "train & test": 0}
    assert whole["counts"]["near"]["train & test"] == 1
    assert whole["ceilings"]["test"]["queries"] == 9
    assert whole["ceilings"]["test"]["hits"] == 7
    assert [one["kind"] for one in whole["findings"]] == ["conflict", "conflict", "near leak", "unreadable"]

    with files[2].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["kind"] for row in rows] == ["conflict"] * 4 + ["near leak"] * 2 + ["unreadable"]
    assert {row["name"] for row in rows if row["group"] == "2"} == {"train/dog/1.png", "test/dog/leak.jpg"}


def test_long_lists_are_cut_and_say_so(audit, photos, tmp_path, capsys):
    for number in range(12):
        picture(50 + number).save(photos / "train" / "dog" / f"new{number}.png")
        picture(50 + number).save(photos / "test" / "dog" / f"new{number}.png")
    for number in range(9):
        picture(99).save(photos / "train" / "dog" / f"same{number}.png")
    page = tmp_path / "page.html"
    assert audit("--html", page) == 0
    shown = capsys.readouterr().out
    assert "identical, in two parts: 12, of which the first 10\n" in shown
    assert "; and 5 more (same bytes)\n" in shown
    assert "same bytes, and 1 more" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda root: picture(0).save(root / "train" / "dog" / "copy.png"), 1),
        (lambda root: picture(0).save(root / "test" / "<b>cat" / "copy.jpg"), 1),
        (lambda root: (root / "train" / "dog" / "bad.png").write_bytes(b""), 1),
        (lambda root: picture(0).save(root / "train" / "<b>cat" / "copy.png"), 0),
    ],
    ids=["conflict", "near leak", "unreadable", "copy"],
)
def test_strict_says_what_is_serious(audit, photos, change, code):
    change(photos)
    assert audit("--strict") == code


def test_near_duplicates_can_be_left_out(audit, photos, capsys):
    picture(0).save(photos / "test" / "<b>cat" / "copy.jpg")
    assert audit("--strict", "--near", "0") == 0
    assert "near" not in capsys.readouterr().out


def test_data_in_memory(capsys, tmp_path):
    page = tmp_path / "page.html"
    assert cli.run("data", ["audit", "dataset=digits", "--near", "0.1", "--html", str(page)]) == 0
    assert "pairs of near duplicates" in capsys.readouterr().out
    assert "<img class='small'" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["dataset=digit"], "did you mean 'digits'?"),
        (["dataset=digits,mnist"], "dataset=digits,mnist gives several values: an audit looks at one data set"),
        (["dataset=digits", "--near", "2"], "2: a distance from 0 (none are looked for) to below 1"),
        (["dataset=digits", "--html", "nowhere/page.html"], "nowhere/page.html: there is no folder nowhere"),
        (["dataset=digits", "dataset.label_noise=0.2"], "dataset.label_noise=0.2 makes labels wrong in the runs of"),
        (["dataset=digits", "dataset.fold=99"], "dataset.fold=99"),
        (["dataset=digits", "--htm"], "--help says more"),
    ],
)
def test_wrong_input_is_one_line(words, line, capsys):
    assert cli.run("data", ["audit", *words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert line in said.err
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("flag", ["--html", "--json", "--csv"])
def test_what_cannot_be_written_is_refused_before_anything_is_read(flag, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("metriscope.data.loading.load_splits", lambda config: pytest.fail("the data were read"))
    assert cli.run("data", ["audit", "dataset=digits", flag, str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"metriscope: cannot write {tmp_path}: Is a directory\n"


def test_a_place_that_is_tried_keeps_what_it_has(tmp_path):
    there, new = tmp_path / "there", tmp_path / "new"
    there.write_text("as it was")
    for path in (there, new):
        _check_writable(path)
    assert there.read_text() == "as it was"
    assert not new.exists()
