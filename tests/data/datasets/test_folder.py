import numpy as np
import pytest
import torch
from PIL import Image

from metriscope.data.datasets import folder
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.splits import split
from metriscope.errors import InputError


def pixels(examples):
    """All images, (N, 3, H, W)."""
    return examples.fetch(torch.arange(len(examples)))


def fill(root, classes, count=5, size=(6, 6), mode="RGB"):
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            pixels = np.full((size[1], size[0], 3), 10 * number + i, np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{i}.png")


def test_natural_order_and_unicode_names(tmp_path):
    fill(tmp_path, ["class 10", "class 2", "Übung", "猫"], count=11)
    source = folder.load(str(tmp_path))
    assert source.train.classes == ("class 2", "class 10", "Übung", "猫")
    assert source.test is None
    assert pixels(source.train)[:, 0, 0, 0].tolist() == [10 * c + i for c in (1, 0, 2, 3) for i in range(11)]


def test_a_folder_without_halves_is_tested_on_a_fixed_fifth(tmp_path):
    fill(tmp_path, ["a", "b"], count=15)
    first, second = (split(folder.load(str(tmp_path)), "closed_set") for _ in range(2))
    assert first.test.counts.tolist() == [3, 3]
    assert first.test.inputs.paths == second.test.inputs.paths
    pooled = torch.cat([pixels(part)[:, 0, 0, 0] for part in (first.train, first.validation, first.test)])
    assert sorted(pooled.tolist()) == sorted(10 * c + i for c in range(2) for i in range(15))


def test_files_are_in_natural_order(tmp_path):
    fill(tmp_path / "train", ["a"], count=12)
    fill(tmp_path / "test", ["a"], count=3)
    source = folder.load(str(tmp_path))
    assert pixels(source.train)[:, 0, 0, 0].tolist() == list(range(12))
    assert len(source.test) == 3


def test_images_stay_files(tmp_path):
    fill(tmp_path, ["a", "b"])
    source = folder.load(str(tmp_path))
    assert isinstance(source.train.inputs, ImageFiles)
    assert source.train.shape == (3, 6, 6)


def test_mixed_modes_and_sizes(tmp_path):
    for name, mode, size in [("a", "L", (6, 6)), ("b", "RGBA", (9, 7)), ("c", "P", (12, 30))]:
        fill(tmp_path, [name], mode=mode, size=size)
    with pytest.raises(InputError, match=r"6x6.*9x7.*dataset\.image_size"):
        pixels(folder.load(str(tmp_path)).train)
    assert pixels(folder.load(str(tmp_path), image_size=5).train).shape == (15, 3, 5, 5)


def test_empty_and_hidden_folders_are_skipped(tmp_path):
    fill(tmp_path, ["a", "b", ".cache", "__MACOSX"])
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "notes.txt").write_text("no image")
    (tmp_path / "a" / "._0.png").write_bytes(b"resource fork")
    (tmp_path / "README.md").write_text("about")
    with pytest.warns(UserWarning, match="empty, texts"):
        source = folder.load(str(tmp_path))
    assert source.train.classes == ("a", "b")


def test_folders_that_hold_no_data(tmp_path):
    for path, words in [
        (None, "dataset.path="),
        (str(tmp_path / "none"), "no folder"),
        (str(tmp_path), "no images"),
    ]:
        with pytest.raises(InputError, match=words):
            folder.load(path)
    fill(tmp_path, ["a"])
    with pytest.raises(InputError, match="image_size=0"):
        folder.load(str(tmp_path), image_size=0)
