import logging
import shutil
from dataclasses import replace

import layouts
import pytest
import torch

from metriscope.data.datasets import cars196
from metriscope.data.files.archives import checksum
from metriscope.data.splits import split
from metriscope.errors import InputError

LAYOUTS = {
    "car_ims/ with cars_annos.mat": layouts.cars_car_ims,
    "cars_train/ and cars_test/ with devkit/": layouts.cars_devkit,
    "car_data/car_data/{train,test}/<class>/ with names.csv": layouts.cars_kaggle,
    "images/<class>/ with cars_annos.mat": lambda root: layouts.cars_images(root, "cars_annos.mat"),
    "images/<class>/ with names.csv": lambda root: layouts.cars_images(root, "names.csv"),
    "images/<class>/ with devkit/cars_meta.mat": lambda root: layouts.cars_images(root, "devkit/cars_meta.mat"),
}
COUNTS = [5, 5, 5, 6]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    published = {"images": 21, "classes": 4, cars196.FIRST: 10, cars196.LAST: 11}
    monkeypatch.setattr(cars196, "PUBLISHED", published)


def test_every_layout_gives_the_same_cars_and_is_named(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    seen = []
    for i, (name, make) in enumerate(LAYOUTS.items()):
        assert make(tmp_path / str(i) / "cars196") == COUNTS
        source = cars196.load(tmp_path / str(i), image_size=8)
        assert f"found {name} in {tmp_path / str(i) / 'cars196'}" in caplog.text
        assert source.test is None
        assert [name.replace("/", "-") for name in source.train.classes] == [c.replace("/", "-") for c in layouts.CARS]
        assert source.train.counts.tolist() == COUNTS
        inputs = source.train.fetch(torch.arange(21)).int()
        assert (inputs[:, 0, 4, 4] - 20 * (source.train.labels + 1)).abs().max() < 12, "each image under its class"
        parts = split(source, "class_disjoint", validation=0)
        assert (len(parts.train), len(parts.test)) == (10, 11)
        seen.append(sorted(inputs[:, :, 4, 4].tolist()))
    assert all(pixels == seen[0] for pixels in seen)


@pytest.mark.parametrize("folder", ["stanford_cars", "CARS196", "stanford-car-dataset-by-classes-folder", ""])
def test_usual_folders(tmp_path, folder):
    layouts.cars_car_ims(tmp_path / folder)
    assert len(cars196.find(tmp_path).train) == 21


def test_variants_within_layouts(tmp_path):
    layouts.cars_devkit(tmp_path / "a" / "stanford_cars", nested=True)
    (tmp_path / "a" / "stanford_cars" / "cars_test_annos_withlabels.mat").rename(
        tmp_path / "a" / "stanford_cars" / "devkit" / "cars_test_annos_withlabels.mat"
    )
    assert len(cars196.find(tmp_path / "a").train) == 21
    layouts.cars_kaggle(tmp_path / "b" / "cars196", annotated=False)
    images = cars196.find(tmp_path / "b").train
    assert [images.labels.count(label) for label in range(4)] == COUNTS


def test_without_the_order_of_classes_the_line_says_so(tmp_path, monkeypatch):
    """By name, the classes of the first half would be others than the published ones."""
    layouts.cars_images(tmp_path / "cars196")
    assert cars196.find(tmp_path).train.classes[1] == "Audi 100 Sedan 1994"
    monkeypatch.setattr(cars196, "PUBLISHED", {cars196.FIRST: 11})
    with pytest.raises(InputError, match=r"without cars_annos\.mat.*in the order of folder names.* instead of 11"):
        cars196.find(tmp_path)


def test_images_of_something_else_are_no_cars(tmp_path):
    layouts.image(tmp_path / "images" / "cat" / "1.jpg")
    with pytest.raises(InputError, match=r"car_ims, cars_annos\.mat missing in .*cars196"):
        cars196.find(tmp_path)


def test_what_is_missing_is_named(tmp_path):
    root = tmp_path / "stanford_cars"
    layouts.cars_devkit(root)
    (root / "cars_test" / "00003.jpg").unlink()
    with pytest.raises(InputError, match=r"1 of 21 listed images are missing, such as cars_test/00003\.jpg"):
        cars196.find(tmp_path)
    assert len(cars196.find(tmp_path, verify=False).train) == 20
    assert cars196.find(tmp_path, verify=False).incomplete == "CARS196 is not complete: 20 images instead of 21"
    (root / "cars_test_annos_withlabels.mat").unlink()
    with pytest.raises(
        InputError, match=r"complete: cars_test_annos_withlabels\.mat missing in .*stanford_cars; its ho"
    ):
        cars196.find(tmp_path)


@pytest.mark.parametrize("half", ["cars_train", "cars_test"])
def test_one_half_is_used_where_that_is_asked(tmp_path, half, caplog):
    root = tmp_path / "stanford_cars"
    layouts.cars_devkit(root)
    other = root / ("cars_test_annos_withlabels.mat" if half == "cars_train" else "devkit/cars_train_annos.mat")
    other.unlink()
    shutil.rmtree(root / ("cars_test" if half == "cars_train" else "cars_train"))
    with pytest.raises(
        InputError, match=r"is not complete: .* \(dataset\.verify=false goes on with the half that is there"
    ):
        cars196.find(tmp_path)
    source = cars196.load(tmp_path, verify=False)
    counts = list(layouts.CARS_HALVES[half == "cars_test"])
    assert source.train.counts.tolist() == counts
    assert source.incomplete == f"CARS196 is not complete: {sum(counts)} images instead of 21"
    assert f"CARS196 ({half}/ alone, with devkit/) in {root} is not complete" in caplog.text
    splits = split(source, "class_disjoint", validation=0)
    assert splits.fingerprint["incomplete"] == source.incomplete


def test_folders_without_images_and_unknown_classes(tmp_path, caplog):
    layouts.cars_images(tmp_path / "cars196", "names.csv")
    (tmp_path / "cars196" / "images" / "Tesla").mkdir()
    cars196.find(tmp_path)
    assert "folders without images: Tesla" in caplog.text
    layouts.image(tmp_path / "cars196" / "images" / "Tesla" / "1.jpg")
    with pytest.raises(InputError, match="Tesla is no class"):
        cars196.find(tmp_path)


def test_broken_annotations_are_named(tmp_path):
    layouts.cars_car_ims(tmp_path / "cars196")
    file = tmp_path / "cars196" / "cars_annos.mat"
    content = file.read_bytes()
    for broken in (b"", content[:300], b"<html>" * 100, content[:200] + b"\xff" * 50 + content[250:]):
        file.write_bytes(broken)
        with pytest.raises(InputError, match=r"cannot read .*cars_annos\.mat: ") as error:
            cars196.find(tmp_path)
        assert "\n" not in str(error.value)
    from scipy.io import savemat

    savemat(file, {"something": 1})
    with pytest.raises(InputError, match="holds no 'annotations'"):
        cars196.find(tmp_path)
    savemat(file, {"annotations": layouts._struct([{"class": 1}]), "class_names": layouts._cell(layouts.CARS)})
    with pytest.raises(InputError, match="have no relative_im_path"):
        cars196.find(tmp_path)
    savemat(file, {
        "annotations": layouts._struct([{"class": 9, "relative_im_path": "car_ims/000001.jpg"}]),
        "class_names": layouts._cell(layouts.CARS),
    })  # fmt: skip
    with pytest.raises(InputError, match=r"class 9 is not in 1\.\.4"):
        cars196.find(tmp_path)


def archived(tmp_path, monkeypatch, kind):
    """The published archives in place, and their checksums."""
    made, data_dir = tmp_path / "made", tmp_path / "data"
    if kind == "cars196":
        layouts.cars_car_ims(made)
        layouts.pack(data_dir / "car_ims.tgz", made, "car_ims")
        shutil.copy(made / "cars_annos.mat", data_dir)
    else:
        layouts.cars_devkit(made)
        for archive, folder in (("cars_train", "cars_train"), ("cars_test", "cars_test"), ("car_devkit", "devkit")):
            layouts.pack(data_dir / f"{archive}.tgz", made, folder)
        shutil.copy(made / "cars_test_annos_withlabels.mat", data_dir)
    archives = [replace(a, md5=checksum(data_dir / a.file)) for a in cars196.ARCHIVES[kind]]
    monkeypatch.setitem(cars196.ARCHIVES, kind, archives)
    return data_dir


@pytest.mark.parametrize("kind", ["cars196", "stanford_cars"])
def test_archives_put_in_place_by_hand_are_checked_and_unpacked(tmp_path, monkeypatch, kind):
    data_dir = archived(tmp_path, monkeypatch, kind)
    with pytest.raises(InputError, match=r"dataset\.download=true checks and unpacks"):
        cars196.find(data_dir)
    assert len(cars196.find(data_dir, download=True).train) == 21
    assert (data_dir / kind).is_dir()
    assert len(cars196.find(data_dir).train) == 21
    assert not list(data_dir.glob(".unpacking*"))


def test_an_archive_that_is_missing_or_another_is_named(tmp_path, monkeypatch):
    with pytest.raises(
        InputError, match=r"can no longer be downloaded; its host is gone: put car_ims\.tgz, cars_annos"
    ):
        cars196.find(tmp_path / "none", download=True)
    data_dir = archived(tmp_path, monkeypatch, "stanford_cars")
    (data_dir / "cars_test.tgz").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"cars_test\.tgz is truncated or another file: its md5 is"):
        cars196.find(data_dir, download=True)
    (data_dir / "cars_test.tgz").unlink()
    with pytest.raises(InputError, match=r"put cars_test\.tgz \(md5 [0-9a-f]{32}\) into"):
        cars196.find(data_dir, download=True)
    assert not (data_dir / "stanford_cars").exists()
