import gzip

import numpy as np
import pytest
import torch

from metriscope.data.datasets import mnist
from metriscope.errors import InputError


def idx(array):
    array = np.asarray(array, np.uint8)
    return b"\0\0\x08" + bytes([array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for half, count in (("train", 20), ("t10k", 10)):
        images = np.arange(count * 16).reshape(count, 4, 4) % 256
        (folder / f"{half}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{half}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    return folder


def test_reads_plain_and_gzipped(raw, tmp_path):
    plain = mnist.load(str(tmp_path))
    for file in list(raw.iterdir()):
        (raw / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    zipped = mnist.load(str(tmp_path))
    for source in (plain, zipped):
        assert source.train.inputs.shape == (20, 1, 4, 4)
        assert source.train.inputs.flatten().tolist() == [i % 256 for i in range(320)]
        assert source.test.labels.tolist() == list(range(10))
        assert source.test.labels.dtype == torch.int64


def test_missing_files_are_listed_with_the_remedy(raw, tmp_path):
    (raw / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError) as error:
        mnist.load(str(tmp_path))
    line = str(error.value)
    assert "t10k-labels-idx1-ubyte" in line
    assert "train-images" not in line
    assert str(raw) in line
    assert "dataset.download=true" in line
    with pytest.raises(InputError, match=r"train-images.*train-labels.*t10k-images.*t10k-labels.*FashionMNIST"):
        mnist.load(str(tmp_path), "FashionMNIST")
    with pytest.raises(InputError, match="MNIST, FashionMNIST"):
        mnist.load(str(tmp_path), "KMNIST")


def test_a_download_that_fails_is_one_line(tmp_path, monkeypatch):
    from torchvision import datasets

    def refuse(root, download):
        raise RuntimeError("Error downloading\n train-images")

    monkeypatch.setattr(datasets, "MNIST", refuse)
    with pytest.raises(InputError, match=r"cannot download MNIST .* Error downloading train-images"):
        mnist.load(str(tmp_path), download=True)


def test_corrupt_files_are_named(raw, tmp_path):
    file = raw / "train-images-idx3-ubyte"
    good = file.read_bytes()
    for content, words in [
        (good[:-5], f"{len(good)} bytes expected, {len(good) - 5} found"),
        (good + b"x", f"{len(good)} bytes expected, {len(good) + 1} found"),
        (b"\0\0\x0d\x03" + good[4:], "begins with 00 00 0d 03"),
        (b"<html>", "begins with 3c 68 74 6d"),
        (good[:6], "bytes expected, 6 found"),
        (b"", "nothing"),
        (idx(np.zeros(20)), "images"),
        (idx(np.zeros((19, 4, 4))), "as many labels"),
    ]:
        file.write_bytes(content)
        with pytest.raises(InputError) as error:
            mnist.load(str(tmp_path))
        assert str(file) in str(error.value)
        assert words in str(error.value)
    file.write_bytes(good)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.full(20, 11)))
    with pytest.raises(InputError, match=r"label 11 is not in 0\.\.9"):
        mnist.load(str(tmp_path))


@pytest.mark.parametrize("keep", [0, 8, 30, -3])
def test_a_truncated_gzip_is_named(raw, tmp_path, keep):
    file = raw / "train-images-idx3-ubyte"
    zipped = raw / f"{file.name}.gz"
    zipped.write_bytes(gzip.compress(file.read_bytes())[:keep])
    file.unlink()
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz"):
        mnist.load(str(tmp_path))
