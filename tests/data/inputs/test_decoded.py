"""Image files are decoded once: how often files are read, and that nothing else differs."""

import os

import numpy as np
import pytest
import torch
from batches import Recorder, config, trainer
from PIL import Image

from metriscope.build.run import data_of
from metriscope.config.plain import plain
from metriscope.data.inputs import images
from metriscope.data.inputs.boxes import Box, Item
from metriscope.data.inputs.decoded import DecodeOnce
from metriscope.data.inputs.decoding import ResizeCrop
from metriscope.data.inputs.images import ImageFiles
from metriscope.errors import InputError


@pytest.fixture
def photos(tmp_path):
    """Forty photographs in two classes, of many sizes."""
    source = np.random.default_rng(0)
    folder = tmp_path / "photos"
    for number in range(40):
        height, width = source.integers(30, 60, 2)
        coarse = Image.fromarray(source.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        path = folder / f"class {number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse.resize((int(width), int(height))).save(path)
    return folder


@pytest.fixture
def reads(monkeypatch):
    """The files that this process has decoded, in order."""
    paths = []
    decode = images.decode

    def counted(path, *rest):
        paths.append(path)
        return decode(path, *rest)

    monkeypatch.setattr(images, "decode", counted)
    return paths


def changes(photos, **further):
    wanted = {"dataset__path": str(photos), "paths__cache_dir": str(photos.parent / "cache")}
    wanted |= {"augmentation__size": 16, "sampler__batch_size": 10, "dataset__num_workers": 0}
    return wanted | further


def build(photos, augmentation="dml_224", **further):
    return data_of(plain(config("folder", augmentation, **changes(photos, **further))))


def fit(data, tmp_path, epochs=2):
    model = Recorder()
    trainer(tmp_path, max_epochs=epochs).fit(model, data)
    return model.seen


def same(one, other):
    assert [len(batches) for batches in one.values()] == [len(batches) for batches in other.values()]
    for stage in one:
        for (_, index, inputs), (_, others_index, others) in zip(one[stage], other[stage], strict=True):
            assert index == others_index
            assert torch.equal(inputs, others)


@pytest.mark.parametrize("augmentation", ["dml_224", "crop_flip"])
def test_the_second_epoch_and_the_second_run_read_no_file(photos, reads, tmp_path, augmentation):
    size = {} if augmentation == "dml_224" else {"dataset__image_size": 16}
    data = build(photos, augmentation, **size, dataset__cache="disk")
    assert len(data.splits.train) + len(data.splits.validation) + len(data.splits.test) == 40
    assert sorted(set(reads)) == sorted(str(path) for path in photos.rglob("*.jpg"))
    once = len(reads)
    first = fit(data, tmp_path)
    assert len(reads) == once
    second = fit(build(photos, augmentation, **size, dataset__cache="disk", seed=0), tmp_path)
    assert len(reads) == once
    same(first, second)


@pytest.mark.parametrize("augmentation", ["dml_224", "crop_flip", "none"])
def test_a_run_sees_the_same_however_images_are_kept(photos, reads, tmp_path, augmentation):
    size = {} if augmentation == "dml_224" else {"dataset__image_size": 16}
    disk = build(photos, augmentation, **size, dataset__cache="disk")
    memory = build(photos, augmentation, **size)
    nothing = build(photos, augmentation, **size, dataset__cache="none", dataset__memory_limit_mb=0)
    assert memory.serving.images("train", training=True).pixels.shape == disk.serving.images("train", True).pixels.shape
    before = len(reads)
    seen = [fit(data, tmp_path) for data in (disk, memory)]
    assert len(reads) == before
    seen.append(fit(nothing, tmp_path))
    served = [index for batches in seen[2].values() for _, index, _ in batches]
    assert len(reads) - before == sum(map(len, served)), "one read for each image in each batch"
    same(seen[0], seen[1])
    same(seen[0], seen[2])
    for part in ("train", "validation", "test"):
        inputs = [data.serving.images(part) for data in (disk, memory, nothing)]
        pixels = [images.fetch(torch.tensor([1, 0])) for images in inputs]
        assert torch.equal(pixels[0], pixels[1])
        assert torch.equal(pixels[0], pixels[2])
        assert torch.equal(disk.serving.image(part, 1), pixels[0][0])


def test_small_data_need_no_disk(photos, tmp_path):
    build(photos)
    assert not (photos.parent / "cache").exists()
    build(photos, dataset__memory_limit_mb=0.02)
    assert len(list((photos.parent / "cache" / "images").glob("*.array"))) == 3


def test_workers_decode_what_is_not_kept(photos, tmp_path):
    alone = fit(build(photos, dataset__cache="disk"), tmp_path)
    workers = {"dataset__cache": "none", "dataset__memory_limit_mb": 0, "dataset__num_workers": 1}
    same(alone, fit(build(photos, **workers), tmp_path))


def test_folds_share_what_they_train_on(photos, reads):
    whole = {"dataset__cache": "disk", "dataset__validation": 0.25}
    first = build(photos, **whole, dataset__fold=0)
    before = len(reads)
    second = build(photos, **whole, dataset__fold=1)
    assert first.splits.validation.inputs.paths != second.splits.validation.inputs.paths
    assert len(reads) - before == len(second.splits.validation), "only the evaluation pixels of other images are new"


def test_evaluation_is_the_fields(photos, tmp_path):
    data = build(photos, dataset__cache="disk")
    shown = data.test_dataloader()
    for pixels, _, index in shown:
        for image, place in zip(pixels, index.tolist(), strict=True):
            with Image.open(data.splits.test.inputs.paths[place]) as file:
                wanted = ResizeCrop(18, 16)(file.convert("RGB"))
            assert np.array_equal(image.permute(1, 2, 0).numpy(), np.asarray(wanted))
    inputs, _, _ = data.on_after_batch_transfer(next(iter(shown)), 0)
    assert inputs.shape[1:] == (3, 16, 16) == data.input_shape


@pytest.mark.parametrize("change", ["content", "time", "name"])
def test_a_changed_file_is_noticed(photos, reads, change):
    data = build(photos, dataset__cache="disk")
    path = data.splits.train.inputs.paths[3]
    before = data.serving.images("train", training=True).fetch(torch.tensor([3])).pixels
    if change == "name":
        os.rename(path, path.replace(".jpg", "b.jpg"))
    elif change == "time":
        os.utime(path)
    else:
        Image.new("RGB", (40, 40), (250, 0, 0)).save(path)
    count = len(reads)
    again = build(photos, dataset__cache="disk")
    assert len(reads) > count
    if change == "content":
        now = again.serving.images("train", training=True).fetch(torch.tensor([3])).pixels
        assert not torch.equal(now, before)
        assert (now[0].float().mean((1, 2)) - torch.tensor([250.0, 0, 0])).abs().max() < 10


def test_another_transform_is_another_cache(photos):
    for size in (16, 16, 12):
        build(photos, dataset__cache="disk", augmentation__size=size)
    assert len(list((photos.parent / "cache" / "images").glob("*.array"))) == 2 * 3
    build(photos, dataset__cache="disk", dataset__image_size=20)
    assert len(list((photos.parent / "cache" / "images").glob("*.array"))) == 3 * 3


def test_images_that_are_turned_have_a_cache_of_their_own(photos):
    built = [build(photos, dataset__cache="disk", dataset__exif=exif) for exif in (True, True, False)]
    assert len(list((photos.parent / "cache" / "images").glob("*.array"))) == 2 * 3
    turned = [data.serving.whole("train", None).facts.get("exif") for data in built]
    assert turned == [True, True, None], "features of a frozen trunk go by it too"


def test_boxes_are_kept_each_for_itself(photos):
    """Two boxes of the same file, and the whole of another."""
    one, other = (str(path) for path in sorted(photos.rglob("*.jpg"))[:2])
    boxes = Item(one, Box(0, 0, 9, 7)), Item(other), Item(one, Box(4, 2, 9, 7))
    files = ImageFiles((), None, ResizeCrop(8, 6)).holding(boxes)
    for in_memory in (True, False):
        kept = DecodeOnce("auto", photos.parent / "cache", in_memory)
        opened = kept.open(files, files.items)
        assert opened.pixels.shape == (3, 6, 6, 3)
        assert torch.equal(opened.fetch(torch.tensor([0, 1, 2])), files.fetch([0, 1, 2]))
        assert torch.equal(opened.take(torch.tensor([2])).fetch(torch.tensor([0])), files.fetch([2]))
    moved = files.holding([Item(one, Box(0, 0, 9, 8)), *boxes[1:]])
    kept.open(moved, moved.items)
    assert len(list((photos.parent / "cache").glob("*.array"))) == 2


@pytest.mark.parametrize("cache", ["disk", "auto", "none"])
def test_files_that_cannot_be_served_are_named_before_training(photos, cache):
    (photos / "class 0" / "0.jpg").write_bytes(b"\xff\xd8 broken")
    limit = 0 if cache == "none" else 2048
    if cache != "none":  # which finds out when a worker comes to it
        with pytest.raises(InputError, match=r"class 0/0\.jpg"):
            build(photos, dataset__cache=cache)
    (photos / "class 0" / "0.jpg").unlink()
    with pytest.raises(InputError, match=r"images differ in size: .*; set dataset\.image_size=<pixels>"):
        build(photos, "crop_flip", dataset__cache=cache, dataset__memory_limit_mb=limit)
    assert not list(photos.parent.glob("cache/images/*.part"))


def test_images_of_one_size_may_keep_it(photos, tmp_path):
    for path in photos.rglob("*.jpg"):
        Image.open(path).resize((20, 14)).save(path, quality=90)
    for cache, limit in (("auto", 2048), ("auto", 0), ("none", 0)):
        data = build(photos, "crop_flip", dataset__cache=cache, dataset__memory_limit_mb=limit)
        assert data.input_shape == (3, 14, 20)
        seen = fit(data, tmp_path, epochs=1)
        assert seen["train"][0][2].shape[1:] == (3, 14, 20)


@pytest.mark.parametrize("cache", ["auto", "none"])
def test_images_of_one_colour_are_told_once(photos, caplog, cache):
    build(photos, dataset__cache=cache)
    assert not caplog.records
    paths = sorted(photos.rglob("*.jpg"))
    for path in paths:
        Image.new("RGB", (20, 20)).save(path)
    build(photos, dataset__cache=cache)
    (said,) = (record.message for record in caplog.records if "one colour" in record.message)
    assert said.startswith("8 of 8 training images that were looked at have one colour throughout, such as ")
