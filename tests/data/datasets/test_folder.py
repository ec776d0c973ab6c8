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


def test_files_that_are_not_used_are_counted(tmp_path):
    fill(tmp_path, ["a", "b"])
    fill(tmp_path / "a", ["deeper"], count=4)
    for name in ("x.heic", "y.heic", "notes.txt"):
        (tmp_path / "a" / name).write_bytes(b"")
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "loose.png").write_bytes(b"")
    with pytest.warns(UserWarning, match="9 files are not used: 4 images in subfolders of a class, 2 ending") as caught:
        assert len(folder.load(str(tmp_path)).train) == 10
    (said,) = (str(each.message) for each in caught)
    for words in ("2 ending in .heic", "1 ending in .txt", "1 links to nothing", "1 images outside of the class"):
        assert words in said


def test_jfif_is_jpeg(tmp_path):
    fill(tmp_path, ["a"], count=2)
    Image.new("RGB", (6, 6), (200, 0, 0)).save(tmp_path / "a" / "2.JFIF", "JPEG")
    assert pixels(folder.load(str(tmp_path)).train)[2, 0, 0, 0] > 190


def test_a_folder_beside_train_and_test_is_told(tmp_path):
    for half in ("train", "dev", "test"):
        fill(tmp_path / half, ["a", "b"])
    with pytest.warns(UserWarning, match="folders beside train and test are not used: dev"):
        folder.load(str(tmp_path))


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_a_folder_of_its_own_validates(tmp_path, name):
    for part, count in (("train", 5), (name, 2), ("test", 3)):
        fill(tmp_path / part, ["a", "b"], count)
    parts = split(folder.load(str(tmp_path)), "closed_set")
    assert [len(part) for part in parts.parts.values()] == [10, 4, 6]
    assert split(folder.load(str(tmp_path)), "closed_set", validation=0).validation is None
    (tmp_path / "test").rename(tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match=f"beside train and {name} are not used: elsewhere"):
        assert len(split(folder.load(str(tmp_path)), "closed_set").test) == 2, "a fifth of train"


def test_queries_and_gallery_are_the_test_part(tmp_path):
    fill(tmp_path / "train", ["a", "b"])
    fill(tmp_path / "query", ["c", "e"], 1)
    fill(tmp_path / "gallery", ["c", "d"], 2)
    with pytest.warns(UserWarning, match="1 of 2 queries cannot find .* no image of their 1 classes, such as 'e'"):
        parts = split(folder.load(str(tmp_path)), "class_disjoint", validation=0)
    assert parts.test.classes == ("c", "d", "e")
    assert parts.test.labels.tolist() == [0, 2, 0, 0, 1, 1]
    assert parts.queries.tolist() == [True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["train", "query"], "has query but no gallery"),
        (["train", "gallery"], "has gallery but no query"),
        (["train", "test", "query", "gallery"], "has test beside query and gallery"),
        (["train", "val", "valid", "test"], "has val and valid: one part validates"),
        (["val", "test"], "has val and test but no part train"),
    ],
)
def test_parts_that_do_not_go_together(tmp_path, names, words):
    for name in names:
        fill(tmp_path / name, ["a", "b"], 1)
    with pytest.raises(InputError, match=words) as error:
        folder.load(str(tmp_path))
    assert "\n" not in str(error.value)


def test_a_class_may_be_called_train(tmp_path):
    fill(tmp_path, ["car", "train"])
    assert folder.load(str(tmp_path)).train.classes == ("car", "train")


def test_classes_of_classes_are_found_by_themselves(tmp_path, caplog):
    caplog.set_level("INFO")
    for part in ("train", "test"):
        fill(tmp_path / part / "kind 10", ["a", "b"], 2)
        fill(tmp_path / part / "kind 2" / "deep", ["a"], 2)
    (tmp_path / "train" / "kind 2" / "notes.txt").write_text("")
    (tmp_path / "train" / "again").symlink_to(tmp_path / "train", target_is_directory=True)
    with pytest.warns(UserWarning, match=r"train: 1 files are not used: 1 ending in \.txt"):
        source = folder.load(str(tmp_path))
    assert source.train.classes == source.test.classes == ("kind 2/deep/a", "kind 10/a", "kind 10/b")
    assert source.train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: images lie in deeper folders, each of which is a class (dataset.nested=true)"
    ]
    with pytest.raises(InputError, match=r"no images in .*; \d+ files are not used: 6 images in subfolders of a class"):
        folder.load(str(tmp_path), nested=False)


def test_folders_within_classes_are_classes_only_where_that_is_asked(tmp_path):
    fill(tmp_path, ["a", "b", "b/deeper"], 2)
    (tmp_path / "b" / "empty").mkdir()
    with pytest.warns(UserWarning, match=r"2 images in subfolders of a class \(dataset\.nested=true takes"):
        assert folder.load(str(tmp_path)).train.classes == ("a", "b")
    with pytest.warns(UserWarning, match="skipped folders without images: b/empty"):
        assert folder.load(str(tmp_path), nested=True).train.classes == ("a", "b", "b/deeper")


def test_how_many_images_each_part_has(tmp_path):
    fill(tmp_path, ["a", "b"], count=20)
    said = split(folder.load(str(tmp_path)), "closed_set").said()
    assert said == "train: 30 images, 2 classes; validation: 2 images, 2 classes; test: 8 images, 2 classes"
