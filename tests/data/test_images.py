import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from metriscope.data.datamodule import BatchDataset
from metriscope.data.examples import Examples
from metriscope.data.images import ImageFiles, common_size, decode, decode_all
from metriscope.errors import InputError


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
    for read in (decode_all, common_size):
        with pytest.raises(InputError, match=r"a\.png is 12x10, .*b\.png is 7x9; set dataset\.image_size="):
            read(paths)
    assert decode_all(paths, (6, 6)).shape == (2, 3, 6, 6)
    assert common_size(paths[:1]) == (10, 12)


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
