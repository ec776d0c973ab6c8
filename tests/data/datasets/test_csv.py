import layouts
import pytest
import torch

from metriscope.data.datasets import csv
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


def test_halves_by_class_stay_as_they_are(table):
    lines = [row("a", i, f"a{i % 2}", "test") for i in range(4)] + [row("ü", i, f"b{i % 2}", "train") for i in range(4)]
    source = csv.load(table("path,label,split", *lines), 8)
    assert split(source, "class_disjoint", validation=0).test.classes == ("a0", "a1")
    with pytest.raises(InputError, match="class_disjoint"):
        split(source, "closed_set")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["path,label,split", row("a", 0, "x", "val")], r"line 2: the split is 'val', it has to be train or test"),
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
        (["path,label"], r"names no image"),
        ([""], r"no column 'path'"),
    ],
)
def test_lines_that_cannot_be_used(table, lines, words):
    with pytest.raises(InputError, match=words) as error:
        csv.load(table(*lines))
    assert "list.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_used(tmp_path):
    with pytest.raises(InputError, match=r"set dataset\.path=<file>"):
        csv.load(None)
    with pytest.raises(InputError, match=r"cannot read .*none\.csv: No such file"):
        csv.load(str(tmp_path / "none.csv"))
    with pytest.raises(InputError, match="cannot read"):
        csv.load(str(tmp_path))
    (tmp_path / "latin.csv").write_bytes("path,label\nä.jpg,x\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"latin\.csv: it is no UTF-8 text \(byte 11\)"):
        csv.load(str(tmp_path / "latin.csv"))
    (tmp_path / "quote.csv").write_text('path,label\n"' + "x" * 200_000)
    with pytest.raises(InputError, match=r"quote\.csv line 2: field larger than"):
        csv.load(str(tmp_path / "quote.csv"))
