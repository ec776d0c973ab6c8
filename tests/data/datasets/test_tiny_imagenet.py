import shutil

import layouts
import pytest
import torch

from metriscope.data.datasets import tiny_imagenet
from metriscope.data.splits import split
from metriscope.errors import InputError

WNIDS = ("n02124075", "n01443537", "n04067472")


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    layouts.tiny_imagenet(tmp_path)
    published = {"images": 18, "classes": 3, tiny_imagenet.TRAIN: 12, tiny_imagenet.TEST: 6}
    monkeypatch.setattr(tiny_imagenet, "PUBLISHED", published)
    return tmp_path


def test_train_and_validation_images_are_the_halves(tiny):
    source = tiny_imagenet.load(tiny, None)
    assert source.train.classes == source.test.classes == WNIDS
    assert source.train.shape == (3, 64, 64)
    assert source.train.counts.tolist() == [4] * 3
    assert source.test.counts.tolist() == [2] * 3
    assert (source.test.fetch(torch.arange(6))[:, 0, 9, 9].int() - 20 * source.test.labels).abs().max() < 12
    assert len(split(source, "closed_set", validation=0).test) == 6


def test_without_boxes_the_folders_are_read(tiny):
    for boxes in (tiny / "tiny-imagenet-200" / "train").rglob("*_boxes.txt"):
        boxes.unlink()
    assert len(tiny_imagenet.find(tiny).train) == 12


def test_what_is_missing_is_named(tiny):
    train = tiny / "tiny-imagenet-200" / "train"
    (train / WNIDS[1] / "images" / f"{WNIDS[1]}_2.JPEG").unlink()
    with pytest.raises(InputError, match=rf"such as train/{WNIDS[1]}/images/{WNIDS[1]}_2\.JPEG, .*11 train images"):
        tiny_imagenet.load(tiny)
    shutil.rmtree(train / WNIDS[1])
    with pytest.raises(InputError, match="8 train images instead of 12"):
        tiny_imagenet.load(tiny)
    table = tiny / "tiny-imagenet-200" / "val" / "val_annotations.txt"
    table.write_text(table.read_text().replace(WNIDS[0], "n00000000"))
    with pytest.raises(InputError, match=r"val_annotations\.txt line 1: there is no class in wnids\.txt n00000000"):
        tiny_imagenet.load(tiny)
