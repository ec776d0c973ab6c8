"""Pairs of two modalities: the files they come from, and the synthetic ones."""

import os

import h5py
import numpy as np
import pytest
import torch

from metriscope.data.datasets import paired, paired_synthetic
from metriscope.data.splits import split
from metriscope.errors import InputError


def arrays(**changes):
    source = np.random.default_rng(0)
    found = {
        "audio_train": source.normal(size=(6, 3)),
        "visual_train": source.normal(size=(6, 4)).astype(np.float16),
        "lab_train": np.array([7.0, 7, 7, 10, 10, 10]),
        "audio_test": source.integers(0, 255, (4, 3)),
        "visual_test": source.normal(size=(4, 4)),
        "lab_test": np.array([[10], [7], [7], [10]]),
    }
    return {key: value for key, value in {**found, **changes}.items() if value is not None}


def npz(folder, **changes):
    np.savez(folder / "pairs.npz", **arrays(**changes))
    return str(folder / "pairs.npz")


def hdf5(folder, name="pairs.h5", **changes):
    with h5py.File(folder / name, "w") as file:
        for key, value in arrays(**changes).items():
            file[key] = value
    return str(folder / name)


def csv(folder, *lines):
    (folder / "pairs.csv").write_text("\n".join(lines))
    return str(folder / "pairs.csv")


def vectors(folder):
    for i in range(4):
        np.save(folder / f"a{i}.npy", np.full(3, i))
        np.save(folder / f"v{i}.npy", np.full(2, 10.0 + i))


@pytest.mark.parametrize("write", [npz, hdf5])
def test_arrays_are_read_by_name(tmp_path, write):
    source = paired.load(write(tmp_path))
    wanted = arrays()
    for part, half in ((source.train, "train"), (source.test, "test")):
        assert torch.equal(part.inputs.first, torch.from_numpy(wanted[f"audio_{half}"].astype(np.float32)))
        assert torch.equal(part.inputs.second, torch.from_numpy(wanted[f"visual_{half}"].astype(np.float32)))
        assert (part.shape, part.classes) == ((3, 4), ("7", "10"))
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.test.labels.tolist() == [1, 0, 0, 1]


def test_sides_and_classes_have_the_names_of_the_file(tmp_path):
    names = {"lab_train": np.array(["dog", "cat"] * 3), "lab_test": np.array(["cat"] * 2 + ["dog"] * 2)}
    old = arrays(**names)
    path = tmp_path / "own.npz"
    np.savez(path, **{key.replace("audio", "sound").replace("visual", "image"): old[key] for key in old})
    source = paired.load(str(path), ["sound", "image"])
    assert source.train.inputs.sides == ("sound", "image")
    assert source.train.classes == ("cat", "dog")
    words = {key: np.array([word.encode() for word in value], dtype=object) for key, value in names.items()}
    assert paired.load(hdf5(tmp_path, **words)).test.labels.tolist() == [0, 0, 1, 1]


def test_a_table_of_two_paths(tmp_path):
    vectors(tmp_path)
    lines = ["audio,visual,label,split", "a0.npy,v1.npy,dog,train", "a1.npy,v0.npy,cat,train", "a2.npy,v3.npy,cat,test"]
    source = paired.load(csv(tmp_path, *lines))
    assert source.train.inputs.first.tolist() == [[0.0] * 3, [1.0] * 3]
    assert source.train.inputs.second.tolist() == [[11.0] * 2, [10.0] * 2]
    assert (len(source.test), source.validation, source.test_share) == (1, None, None)
    source = paired.load(csv(tmp_path, *(line.rpartition(",")[0] for line in lines)))
    assert (len(source.train), source.test, source.test_share) == (3, None, 0.2)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"lab_test": None, "visual_test": None}, "has no key visual_test, lab_test, only audio_test, audio_train"),
        (
            {"lab_train": np.arange(5)},
            r"other numbers of rows \(audio_train 6, visual_train 6, lab_train 5\): a pair has",
        ),
        ({"audio_train": np.zeros((6, 2, 3))}, r"audio_train has the shape \(6, 2, 3\): .* mean over the frames"),
        ({"audio_train": np.zeros((0, 3))}, r"audio_train has the shape \(0, 3\): it has to be \(N, F\)"),
        ({"audio_test": np.zeros(4)}, r"audio_test has the shape \(4,\): it has to be \(N, F\)"),
        ({"audio_train": np.array(["a"] * 6)}, "audio_train is of <U1: store vectors of numbers"),
        ({"audio_train": np.array([None] * 6)}, "audio_train cannot be read: it holds objects"),
        ({"audio_train": np.full((6, 3), np.nan)}, r"audio_train holds NaN or Inf in 6 of 6 rows, first in row 0"),
        ({"visual_test": np.full((4, 4), 1e300)}, r"visual_test holds NaN or Inf in 4 of 4 rows"),
        ({"lab_train": np.full(6, 0.5)}, "lab_train holds 0.5: labels are whole numbers or names"),
        ({"lab_train": np.eye(6)}, r"lab_train has the shape \(6, 6\): .* one-hot rows, store the place of the 1"),
        ({"lab_train": np.arange(6) * 1e300}, "lab_train holds 1e\\+300: .*floats at most 2\\^53"),
        ({"lab_train": np.array([b"\xff", b"\xfe"] * 3)}, "lab_train holds a name that is no UTF-8 text"),
        ({"lab_train": np.array(["a", " "] * 3)}, r"lab_train has no name in row 1 \(from 0\)"),
        ({"lab_train": np.zeros(6, bool)}, "lab_train is of bool: labels are whole numbers or names"),
        ({"audio_test": np.zeros((4, 5))}, "vectors of other sizes, 3 x 4 in train and 5 x 4 in test"),
    ],
)
def test_wrong_arrays_are_one_line(tmp_path, changes, line):
    with pytest.raises(InputError, match=line) as caught:
        paired.load(npz(tmp_path, **changes))
    assert "\n" not in str(caught.value)
    assert "pairs.npz" in str(caught.value)


def test_wrong_files_are_one_line(tmp_path, monkeypatch):
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "text.h5").write_text("hello")
    with (tmp_path / "array.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with h5py.File(tmp_path / "group.hdf5", "w") as file:
        for key in arrays():
            file.create_group(key)
    for name, line in (
        (None, "dataset=paired needs a file with the keys audio_train, visual_train, lab_train, audio_test"),
        (str(tmp_path / "none.npz"), "cannot read .*none.npz: No such file"),
        (str(tmp_path), "pairs are in a file that ends in"),
        (str(tmp_path / "text.npz"), "cannot read .*text.npz: it holds objects, or is no file of arrays"),
        (str(tmp_path / "array.npz"), "cannot read .*array.npz: it is one array"),
        (str(tmp_path / "text.h5"), r"cannot read .*text.h5: .*file signature not found"),
        (str(tmp_path / "group.hdf5"), "audio_train is no array, but a group"),
    ):
        with pytest.raises(InputError, match=line):
            paired.load(name)
    for sides in (["a", "a"], ["a"], ["a/b", "c"]):
        with pytest.raises(InputError, match=r"^sides=.*two different names"):
            paired.load(npz(tmp_path), sides)
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(InputError, match=r"HDF5 needs a package: pip install 'metriscope\[hdf5\]'"):
        paired.load(str(tmp_path / "text.h5"))


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        (["audio,visul,label", "a0.npy,v0.npy,x"], "needs one column visual and has 'audio,visul,label'"),
        (["audio,visual,label", "a0.npy,,x"], "line 2: there is no visual: a pair has one vector of each side"),
        (["audio,visual,label", "a0.npy,v9.npy,x"], "line 2: cannot read .*v9.npy: No such file"),
        (["audio,visual,label", "a0.npy,v0.npy,x", "a1.npy,a1.npy,x"], "line 3: a1.npy has 3 numbers, those of visual"),
        (["audio,visual,label", "a0.npy,v0.npy"], "line 2: there is no label"),
        (
            ["audio,visual,label"] + ["a0.npy,v0.npy,x"] * 2,
            "line 3 names the pair a0.npy, v0.npy a second time, as line 2",
        ),
        (["audio,visual,label,split", "a0.npy,v0.npy,x,dev"], "line 2: the split is 'dev'"),
        (["audio,visual,label,split", "a0.npy,v0.npy,x,test"], "lists no pair of the split 'train'"),
    ],
)
def test_wrong_lines_are_named(tmp_path, lines, line):
    vectors(tmp_path)
    with pytest.raises(InputError, match=line):
        paired.load(csv(tmp_path, *lines))


def test_a_pipe_among_the_vectors_is_not_waited_for(tmp_path):
    vectors(tmp_path)
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(InputError, match=r"line 2: cannot read .*pipe.npy: it is a pipe"):
        paired.load(csv(tmp_path, "audio,visual,label", "pipe.npy,v0.npy,x"))


def test_a_class_of_one_half_alone(tmp_path):
    """One of train is trained on; one of test is refused in a closed set, and pooled where classes are disjoint."""
    more = paired.load(npz(tmp_path, lab_train=np.array([7, 7, 10, 10, 11, 11])))
    assert split(more, "closed_set", validation=0).test.counts.tolist() == [2, 2, 0]
    labels = {"lab_train": np.array([7, 7, 10, 10, 11, 11]), "lab_test": np.array([7, 10, 12, 12])}
    other = paired.load(npz(tmp_path, **labels))
    with pytest.raises(InputError, match=r"1 test classes are not in the train half \(such as '12'\)"):
        split(other, "closed_set", validation=0)
    pooled = split(other, "class_disjoint", validation=0)
    assert (pooled.train.classes, pooled.test.classes) == (("7", "10"), ("11", "12"))
    assert torch.equal(pooled.test.inputs.second[-2:], other.test.inputs.second[-2:])


def test_synthetic_pairs_share_what_is_hidden():
    source = paired_synthetic.load(classes=3, per_class=40, hidden=4, sizes=[5, 6], noise=0.0, intra=0.5)
    train, test = source.train, source.test
    assert (train.shape, len(train), len(test), train.num_classes) == ((5, 6), 120, 120, 3)
    # Without noise both sides are linear in the same hidden vectors, of 4 dimensions.
    assert int(torch.linalg.matrix_rank(torch.cat([train.inputs.first, train.inputs.second], 1), rtol=1e-5)) == 4
    again = paired_synthetic.load(classes=3, per_class=40, hidden=4, sizes=[5, 6], noise=0.0, intra=0.5)
    assert torch.equal(again.test.inputs.second, test.inputs.second)
    assert not torch.equal(train.inputs.first, test.inputs.first)
    assert len(paired_synthetic.load(classes=3, per_class=4, test_per_class=2).test) == 6
    for wrong in ({"sizes": [5]}, {"classes": 1}, {"noise": -1.0}, {"sides": ["a", "a"]}):
        with pytest.raises(InputError, match=rf"^{next(iter(wrong))}="):
            paired_synthetic.load(**wrong)
