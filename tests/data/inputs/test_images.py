from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.transforms import functional

from metriscope.data.batch_dataset import BatchDataset
from metriscope.data.examples import Examples
from metriscope.data.inputs.augment import Augmentation
from metriscope.data.inputs.boxes import Item
from metriscope.data.inputs.decoding import ResizeCrop, Square
from metriscope.data.inputs.decoding import decode as decode_with_size
from metriscope.data.inputs.images import ImageFiles, Squashed, common_size
from metriscope.data.inputs.resample import resized_crops
from metriscope.errors import InputError


def decode(path, size=None, transform=None):
    """(3, H, W), as images are thought of."""
    return decode_with_size(path, size, transform)[0].permute(2, 0, 1)


def decode_all(paths, size=None):
    files = ImageFiles(tuple(paths), size)
    images = torch.zeros(len(paths), *files.shape[1:], 3, dtype=torch.uint8)

    def put(start, pixels, sizes):
        assert len(pixels) == len(sizes)
        images[start : start + len(pixels)] = pixels

    files.decode_all(put)
    return images.permute(0, 3, 1, 2)


def common(paths):
    return common_size([Item(path) for path in paths])


def save(path, mode="RGB", size=(12, 10), colour=None, **options):
    image = Image.new("RGB", size, colour or (200, 40, 90))
    image.convert(mode).save(path, **options)
    return str(path)


@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        *(("RGB", ending) for ending in ("png", "jpg", "bmp", "webp", "tif", "gif")),
        *(("L", "png"), ("L", "jpg"), ("1", "png"), ("LA", "png"), ("RGBA", "png"), ("P", "png")),
        *(("CMYK", "jpg"), ("CMYK", "tif"), ("I", "tif"), ("F", "tif")),
    ],
)
@pytest.mark.parametrize("size", [None, (8, 8)])
def test_every_mode_becomes_rgb(tmp_path, mode, ending, size):
    image = decode(save(tmp_path / f"a.{ending}", mode), size)
    assert image.dtype == torch.uint8
    assert image.shape == (3, *(size or (10, 12)))
    if mode in ("RGB", "RGBA", "CMYK"):
        middle = image[:, 4, 4].int()
        assert (middle - torch.tensor([200, 40, 90])).abs().max() < 25


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 256], [32768, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert decode(str(tmp_path / "a.png"))[0].tolist() == [[0, 1], [128, 255]]


def test_transparent_palette(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(tmp_path / "a.png", transparency=bytes([0, 128]))
    assert decode(str(tmp_path / "a.png"))[:, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize("shape", [(40, 20), (20, 40), (400, 200)])
def test_the_shorter_side_is_scaled_and_the_centre_cropped(tmp_path, ending, shape):
    """Four bands across the longer side: the inner two remain."""
    width, height = shape
    pixels = np.zeros((height, width, 3), np.uint8)
    along = np.arange(max(shape)) * 4 // max(shape)  # the middle half is stretches 1 and 2
    pixels[..., 0] = (along * 80)[None, :] if width > height else (along * 80)[:, None]
    path = tmp_path / f"a.{ending}"
    Image.fromarray(pixels).save(path, **({"quality": 95, "subsampling": 0} if ending == "jpg" else {}))
    red = decode(str(path), (10, 10))[0].float()
    line = red.mean(0) if width > height else red.mean(1)
    torch.testing.assert_close(line[[2, 7]], torch.tensor([80.0, 160.0]), atol=6, rtol=0)


@pytest.mark.parametrize("size", [None, (8, 8)])
@pytest.mark.parametrize("ending", ["jpg", "png", "gif"])
def test_broken_files_are_named(tmp_path, size, ending):
    path = save(tmp_path / f"broken.{ending}", size=(64, 64))
    content = (tmp_path / f"broken.{ending}").read_bytes()
    for broken in (content[: len(content) // 2], b"no image at all", b""):
        (tmp_path / f"broken.{ending}").write_bytes(broken)
        if ending == "gif" and broken == content[: len(content) // 2]:
            continue  # may still hold the whole frame
        with pytest.raises(InputError) as error:
            decode(path, size)
        assert path in str(error.value)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="nowhere"):
        decode(str(tmp_path / f"nowhere.{ending}"), size)


def test_decode_all_equals_one_by_one_in_order(tmp_path):
    paths = [save(tmp_path / f"{i}.png", colour=(i, 2 * i, 3)) for i in range(70)]
    images = decode_all(paths)
    assert images[:, 0, 0, 0].tolist() == list(range(70))
    assert torch.equal(images[5], decode(paths[5]))


def test_sizes_that_differ_are_named(tmp_path):
    paths = [save(tmp_path / "a.png"), save(tmp_path / "b.png", size=(7, 9))]
    for read in (decode_all, common, lambda paths: ImageFiles(tuple(paths)).fetch([0, 1])):
        with pytest.raises(InputError, match=r"a\.png is 12x10, .*b\.png is 7x9; set dataset\.image_size="):
            read(paths)
    assert decode_all(paths, (6, 6)).shape == (2, 3, 6, 6)
    assert common(paths[:1]) == (10, 12)


def test_a_worker_reports_the_broken_file_in_one_line(tmp_path):
    paths = [save(tmp_path / f"{i}.png") for i in range(4)]
    (tmp_path / "3.png").write_bytes(b"\x89PNG broken")
    files = ImageFiles(tuple(paths), (8, 8))
    assert files.fetch([2, 0]).shape == (2, 3, 8, 8)
    assert files.fetch([]).shape == (0, 3, 8, 8)
    dataset = BatchDataset(Examples(files, torch.tensor([0, 0, 1, 1]), ("a", "b")))
    loader = DataLoader(dataset, batch_size=None, sampler=[[0, 1], [2, 3]], num_workers=1)
    with pytest.raises(InputError) as error:
        list(loader)
    assert str(error.value).startswith(f"cannot read the image {paths[3]}: ")
    assert "\n" not in str(error.value)


def photograph(path, size, mode="RGB", **options):
    """A noisy image, in which a shifted or unfiltered pixel shows."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return str(path)


@pytest.mark.parametrize("size", [(50, 37), (37, 50), (40, 40), (32, 60), (300, 20), (33, 33), (41, 40)])
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_evaluation_pixels_are_those_of_torchvision_on_pillow_images(tmp_path, size, ending):
    """Shorter side scaled up, down or not at all; odd margins around the centre."""
    path = photograph(tmp_path / f"a.{ending}", size)
    with Image.open(path) as image:
        wanted = transforms.CenterCrop(28)(transforms.Resize(32)(image.convert("RGB")))
    found, _ = decode_with_size(path, None, ResizeCrop(32, 28))
    assert np.array_equal(found.numpy(), np.asarray(wanted))


def test_evaluation_at_the_fields_sizes(tmp_path):
    path = photograph(tmp_path / "a.jpg", (500, 375), quality=95)
    with Image.open(path) as image:
        wanted = transforms.CenterCrop(224)(transforms.Resize(256)(image.convert("RGB")))
    assert np.array_equal(decode_with_size(path, None, ResizeCrop(256, 224))[0].numpy(), np.asarray(wanted))


def test_squares_remember_the_images_size(tmp_path):
    files = ImageFiles((photograph(tmp_path / "a.png", (50, 30)), photograph(tmp_path / "b.png", (16, 40))))
    squares = replace(files, transform=Square(20))
    assert squares.shape == (3, 20, 20)
    batch = squares.fetch([1, 0])
    assert isinstance(batch, Squashed)
    assert batch.sizes.tolist() == [[40, 16], [30, 50]]
    with Image.open(files.paths[0]) as image:
        wanted = np.asarray(image.resize((20, 20), Image.Resampling.BILINEAR))
    assert np.array_equal(batch.pixels[1].permute(1, 2, 0).numpy(), wanted)
    fitted = replace(squares, size=(24, 24)).fetch([0])
    assert fitted.sizes.tolist() == [[24, 24]]


def test_squares_of_large_photographs_keep_their_pixels(tmp_path):
    """A JPEG far larger than the square is decoded at a fraction of its size: nearly the same square."""
    ramp = np.linspace(0, 255, 900).astype(np.uint8)
    pixels = np.stack([np.broadcast_to(ramp, (700, 900)), np.broadcast_to(ramp[:700, None], (700, 900))] * 2, -1)
    Image.fromarray(pixels[..., :3].copy()).save(tmp_path / "a.jpg", quality=95)
    found, size = decode_with_size(str(tmp_path / "a.jpg"), None, Square(64))
    assert size == (700, 900)
    with Image.open(tmp_path / "a.jpg") as image:
        wanted = np.asarray(image.resize((64, 64), Image.Resampling.BILINEAR))
    assert np.abs(found.numpy().astype(int) - wanted).max() <= 3


def test_a_crop_of_a_square_is_nearly_that_of_the_photograph(tmp_path):
    """Random crops are cut from squares, resampled twice where torchvision's crop of the file is resampled once.

    Two and three pixels of the photograph make one of the square, so that boxes are the same in both. Next to a
    mean difference of 1, a crop that is off by one pixel of the square differs by 5.7.
    """
    coarse = np.random.default_rng(1).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((768, 512), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=95)
    files = ImageFiles((str(tmp_path / "a.jpg"),) * 40, None, Square(256))
    augmentation = Augmentation("random_resized", size=224)
    numbers = torch.rand(40, augmentation.width, generator=torch.Generator().manual_seed(0))
    planned = augmentation.plan(files.fetch(range(40)), numbers)
    ours = resized_crops(*planned, 224)
    with Image.open(tmp_path / "a.jpg") as image:
        whole = image.convert("RGB")
    for box, mine in zip(planned.boxes, ours, strict=True):
        top, left, height, width = (box * torch.tensor([2, 3, 2, 3])).tolist()
        theirs = functional.resized_crop(whole, top, left, height, width, [224, 224])
        difference = mine.permute(1, 2, 0).numpy().astype(int) - np.asarray(theirs).astype(int)
        assert np.abs(difference).mean() < 1
