import os

import layouts
import pytest
import torch

from metriscope.data.datasets import csv
from metriscope.data.loading import load_splits
from metriscope.data.splits import split
from metriscope.errors import InputError


@pytest.fixture
def table(tmp_path):
    """Writes a table beside eight images ``a 0.jpg`` to ``ü 3.jpg``; returns its path."""
    for label, name in enumerate("aü"):
        for number in range(4):
            layouts.image(tmp_path / "images" / f"{name} {number}.jpg", label, number)

    def write(*lines, encoding="utf-8"):
        (tmp_path / "list.csv").write_text("\n".join(lines) + "\n", encoding=encoding)
        return str(tmp_path / "list.csv")

    return write


def row(name, number, label, *split):
    return ",".join([f"images/{name} {number}.jpg", label, *split])


def test_splits_and_natural_order(table):
    lines = [row("ü", i, "class 10", "test" if i == 3 else "train") for i in range(4)]
    lines += [row("a", i, "class 2", "test" if i == 0 else "train") for i in range(4)]
    source = csv.load(table("path,label,split", *lines), image_size=8)
    assert source.train.classes == ("class 2", "class 10")
    assert source.train.labels.tolist() == [1, 1, 1, 0, 0, 0]
    assert source.test.labels.tolist() == [1, 0]
    assert (
        source.train.fetch(torch.arange(6))[:, 0, 4, 4].int() - torch.tensor([20, 20, 20, 0, 0, 0])
    ).abs().max() < 12


def test_without_a_split_the_data_come_as_one(table):
    lines = [f"{name},images/{name} {i}.jpg,n" for name in "aü" for i in range(4)]
    source = csv.load(table("Label, path ,note", *lines), 8)
    assert source.test is None
    assert split(source, "closed_set", validation=0).train.counts.tolist() == [4, 4]
    source = csv.load(table("path,label", '"images/a 0.jpg",x', "", row("a", 1, "y"), encoding="utf-8-sig"), 8)
    assert source.train.classes == ("x", "y")


def test_too_few_images_to_test_any(table):
    path = table("path,label", *(row(name, i, name) for name in "aü" for i in range(4)))
    section = {"_target_": "metriscope.data.datasets.csv.load", "name": "csv", "path": path, "protocol": "closed_set"}
    with pytest.raises(
        InputError, match=r"^8 examples in 2 classes leave none to test: bring more of each class, or a te"
    ):
        load_splits({**section, "validation": 0})


def test_halves_by_class_stay_as_they_are(table):
    lines = [row("a", i, f"a{i % 2}", "test") for i in range(4)] + [row("ü", i, f"b{i % 2}", "train") for i in range(4)]
    source = csv.load(table("path,label,split", *lines), 8)
    assert split(source, "class_disjoint", validation=0).test.classes == ("a0", "a1")
    with pytest.raises(InputError, match="class_disjoint"):
        split(source, "closed_set")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["path,label,split", row("a", 0, "x", "dev")],
            r"line 2: the split is 'dev', it has to be train, val, tes",
        ),
        (["path,label,split", row("a", 0, "x", "")], r"line 2: the split is ''"),
        (["path,label", row("a", 0, "x"), "", row("a", 9, "x")], r"line 4: there is no file images/a 9\.jpg"),
        (["path,label", row("a", 0, "x"), row("a", 0, "y")], r"line 3 names images/a 0\.jpg a second time"),
        (["path,label", row("a", 0, "")], r"line 2 has no label"),
        (["path,label", ",x"], r"line 2 has no path"),
        (["path,label", row("a", 0, "x,y")], r"line 2 has 3 columns, the header 2"),
        (["path;label", row("a", 0, "x")], r"no column 'path', .*'path;label' in its header"),
        (["file,class", row("a", 0, "x")], r"no column 'path', only 'file,class' in its header"),
        (["path,label,spilt", row("a", 0, "x", "test")], r"no column 'split', 'spilt' in its header"),
        (["path,label,split", row("a", 0, "x", "test")], r"no line of the split 'train'"),
        (["path,label,split", row("a", 0, "x", "train"), row("a", 1, "x", "query")], r"has query but no gallery: quer"),
        (["path,kind", row("a", 0, "x")], r"no column 'label', .*\(dataset\.label=<column> names another\)$"),
        (["path,label"], r"names no image"),
        ([""], r"no column 'path'"),
    ],
)
def test_lines_that_cannot_be_used(table, lines, words):
    with pytest.raises(InputError, match=words) as error:
        csv.load(table(*lines))
    assert "list.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_parts_of_validation_query_and_gallery(table):
    splits = ["train", "val", "query", "gallery"]
    lines = [row(name, i, name, splits[i]) for i in (3, 1, 2, 0) for name in "aü"]
    source = csv.load(table("path,label,split", *lines), 8)
    assert (len(source.train), len(source.validation), len(source.test)) == (2, 2, 4)
    assert source.queries.tolist() == [False, False, True, True], "in the order of the file"
    parts = split(source, "closed_set")
    assert len(parts.train) == len(parts.validation) == 2
    assert parts.said().endswith("test: 4 images, 2 classes (2 queries, 2 in the gallery)")


def test_another_column_may_hold_the_label(table):
    lines = [row("a", i, f"a{i % 2}", "one") for i in range(4)] + [row("ü", i, "b", "two") for i in range(4)]
    path = table("path,label,Family", *lines)
    assert csv.load(path).train.classes == ("a0", "a1", "b")
    assert csv.load(path, label="family").train.classes == ("one", "two")
    assert csv.load(table("path,family", row("a", 0, "x"), row("a", 1, "y")), label="family").train.num_classes == 2
    with pytest.raises(InputError, match=r"^dataset\.label=kind: .*has no such column, only path,label,family$"):
        csv.load(table("path,label,family", *lines), label="kind")


BOXED = "path,label,x,y,width,height"


def test_images_are_cropped_to_their_boxes(table, caplog):
    caplog.set_level("INFO")
    path = table(BOXED, row("a", 0, "x,2,3,5,4"), row("a", 0, "y,7,8.4,5.2,4"), row("a", 1, "y,,,,"))
    inputs = csv.load(path).train.inputs
    assert "cropped to the boxes of x,y,width,height (dataset.box=false" in caplog.text
    assert inputs.boxes == ((2, 3, 5, 4), (7, 8, 5, 4), None)
    assert inputs.fetch([0, 1]).shape == (2, 3, 4, 5)
    assert inputs.take([2]).fetch([0]).shape == (1, 3, 16, 20)
    assert csv.load(path, 8).train.fetch(torch.arange(3)).shape == (3, 3, 8, 8)
    with pytest.raises(InputError, match=r"line 3 names images/a 0\.jpg a second time$"):
        csv.load(path, box=False)
    assert csv.load(table("path,label,width", row("a", 0, "x,9"))).train.inputs.boxes is None


@pytest.mark.parametrize(
    ("header", "box", "words"),
    [
        (BOXED, "0,0,0,4", r"line 2: width is 0, and a box has at least one pixel"),
        (BOXED, "0.1,0.2,0.5,0.5", r"line 2: width is 0\.5, .*shares of 1 are no pixels"),
        (BOXED, "0,0,5,", r"line 2: height is '', it has to be a number of pixels"),
        (BOXED, "0,0,5,nan", r"line 2: height is 'nan', it has to be a number"),
        (BOXED, "0,-3,5,5", r"line 2: the box begins outside of the image, at x=0 y=-3"),
        (BOXED, "0,0,5,5\nimages/a 0.jpg,y,0,0,5,5", r"line 3 names images/a 0\.jpg a second time with the same box"),
        ("path,label,x,y,width", "0,0,5", r"has x, y, width but no column height: add it, or set dataset\.box=false"),
    ],
)
def test_boxes_that_cannot_be_used(table, header, box, words):
    with pytest.raises(InputError, match=words) as error:
        csv.load(table(header, row("a", 0, "x", box)))
    assert "list.csv" in str(error.value)


def test_boxes_that_are_asked_for_have_to_be_there(table):
    with pytest.raises(InputError, match=r"^dataset\.box=true: .*csv has no column x, y, only path,label,width"):
        csv.load(table("path,label,width,height", row("a", 0, "x,5,5")), box=True)


def test_a_box_outside_of_its_image_names_the_image(table):
    inputs = csv.load(table(BOXED, row("a", 0, "x,18,3,5,4"))).train.inputs
    with pytest.raises(InputError, match=r"a 0\.jpg: its box 18,3,5,4 \(x,y,width,height\) is not inside of its 20"):
        inputs.fetch([0])


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match=r"set dataset\.path=<file>"):
        csv.load(None)
    with pytest.raises(InputError, match=r"cannot read .*none\.csv: No such file"):
        csv.load(str(tmp_path / "none.csv"))
    with pytest.raises(InputError, match="cannot read"):
        csv.load(str(tmp_path))
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match=r"cannot read .*pipe\.csv: it is a pipe"):
        csv.load(str(tmp_path / "pipe.csv"))
    (tmp_path / "latin.csv").write_bytes("path,label\nä.jpg,x\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.csv: it is no UTF-8 text \(byte 11\)"):
        csv.load(str(tmp_path / "latin.csv"))
    (tmp_path / "quote.csv").write_text('path,label\n"' + "x" * 200_000)
    with pytest.raises(InputError, match=r"quote\.csv line 2: field larger than"):
        csv.load(str(tmp_path / "quote.csv"))


@pytest.mark.parametrize("column", ["path", "label", "split"])
def test_a_column_that_is_there_twice_is_refused(tmp_path, column):
    (tmp_path / "list.csv").write_text(f"path,label,split,{column}\na.jpg,x,train,y\n")
    with pytest.raises(InputError, match=rf"list\.csv has the column '{column}' more than once"):
        csv.load(str(tmp_path / "list.csv"))
