"""Photographs are turned upright, as Pillow's own function turns them, where that is asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageOps

from metriscope.data.inputs.boxes import Box
from metriscope.data.inputs.decoding import ResizeCrop, Square, decode, header_size
from metriscope.data.inputs.images import ImageFiles

ORIENTATIONS = range(1, 9)


def photograph(path, orientation=None, size=(24, 16), **options):
    """Smooth, and different in every corner."""
    across, down = (np.linspace(0, 255, side) for side in size)
    ramp = across[None, :, None] * [1, 0, 0] + down[:, None, None] * [0, 1, 0]
    if orientation is not None:
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        options["exif"] = exif.tobytes()
    Image.fromarray(ramp.astype(np.uint8)).save(path, **options)
    return str(path)


def pixels(path, *rest, exif=True):
    return decode(path, *rest, exif=exif)[0].numpy()


def upright(path):
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_every_orientation_in_every_format(tmp_path, ending):
    for orientation in ORIENTATIONS:
        path = photograph(tmp_path / f"{orientation}.{ending}", orientation)
        wanted = upright(path)
        assert wanted.size == ((16, 24) if orientation > 4 else (24, 16))
        assert np.array_equal(pixels(path), np.asarray(wanted))
        assert header_size(path, None, True) == wanted.size[::-1]
        crop, square = ResizeCrop(10, 8), Square(8)
        assert np.array_equal(pixels(path, None, crop), np.asarray(crop(wanted)))
        found, seen = decode(path, None, square, exif=True)
        assert seen == wanted.size[::-1]
        assert np.abs(found.numpy().astype(int) - np.asarray(square(wanted))).max() <= 3


def test_images_lie_as_they_are_stored_where_that_is_not_asked(tmp_path):
    for orientation in ORIENTATIONS:
        path = photograph(tmp_path / f"{orientation}.jpg", orientation)
        with Image.open(path) as image:
            assert np.array_equal(pixels(path, exif=False), np.asarray(image))
        assert header_size(path) == (16, 24)


def test_a_large_photograph_is_scaled_in_its_upright_form(tmp_path):
    """Decoded at a fraction of its size, which goes by the sides of the stored image."""
    path = photograph(tmp_path / "a.jpg", 6, (600, 400), quality=95)
    wanted = np.asarray(ImageOps.fit(upright(path), (30, 50), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(pixels(path, (50, 30)).astype(int) - wanted).max() <= 4


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none(tmp_path, orientation):
    assert header_size(photograph(tmp_path / "a.jpg", orientation), None, True) == (16, 24)


@pytest.mark.parametrize("block", [b"", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\xff\x01\x12"])
def test_a_damaged_block_leaves_the_image_upright(tmp_path, block):
    path = photograph(tmp_path / "a.jpg", exif=b"Exif\0\0" + block)
    assert pixels(path).shape == (16, 24, 3)
    assert header_size(path, None, True) == (16, 24)


def test_boxes_are_of_the_upright_image(tmp_path):
    path = photograph(tmp_path / "a.jpg", 6)
    box = Box(2, 5, 9, 7)
    found, seen = decode(path, None, None, box=box, exif=True)
    assert seen == (7, 9) == header_size(path, box, True)
    assert np.array_equal(found.numpy(), np.asarray(upright(path))[5:12, 2:11])
    scaled = decode(path, (14, 18), None, box=box, exif=True)[0]
    wanted = ImageOps.fit(upright(path).crop(box.edges), (18, 14), Image.Resampling.BILINEAR)
    assert np.array_equal(scaled.numpy(), np.asarray(wanted))


def test_batches_are_upright(tmp_path):
    files = ImageFiles((photograph(tmp_path / "a.jpg", 6), photograph(tmp_path / "b.jpg", size=(16, 24))), exif=True)
    assert files.fetch([0, 1]).shape == (2, *files.shape) == (2, 3, 24, 16)
    assert replace(files, exif=False).shape == (3, 16, 24)
    assert torch.equal(files.take([0]).fetch([0])[0], files.fetch([0])[0])
