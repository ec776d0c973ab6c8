"""Files that ask for too much memory, for another program, or for a range of values that nobody knows."""

import os
import tracemalloc

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image

from metriscope.data.files.listing import ImageList, Listing, source
from metriscope.data.inputs.decoding import ENDINGS, FORMATS, ResizeCrop, Square, decode, header_size
from metriscope.data.loading import _limited
from metriscope.errors import InputError

ENOUGH = ResizeCrop(256, 224)


@pytest.mark.parametrize("transform", [None, ENOUGH, Square(64)])
@pytest.mark.parametrize("ending", ["png", "jpg", "jfif", "tif"])
def test_an_image_above_the_limit_is_one_line(tmp_path, ending, transform):
    path = tmp_path / f"large.{ending}"
    Image.new("RGB", (1200, 1000)).save(path, "JPEG" if ending == "jfif" else None)
    drafted = ending in ("jpg", "jfif") and isinstance(transform, Square)
    if drafted:  # decoded at a fraction of its size
        assert decode(str(path), None, transform, limit_mb=1)[1] == (1000, 1200)
        return
    with pytest.raises(InputError) as error:
        decode(str(path), None, transform, limit_mb=4)
    assert str(error.value) == (
        f"cannot read the image {path}: its 1200 x 1000 pixels take 5 MiB, above dataset.image_limit_mb=4: "
        "scale it down, or raise that key"
    )
    assert decode(str(path), None, transform, limit_mb=5)[1] == (1000, 1200)


def test_the_limit_holds_before_a_jpeg_is_decoded(tmp_path, monkeypatch):
    """A header that lies about the size is enough to take the memory."""
    path = tmp_path / "bomb.jpg"
    Image.new("RGB", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = (60_000).to_bytes(2, "big") * 2
    path.write_bytes(content)
    monkeypatch.setattr("torchvision.io.decode_jpeg", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"bomb\.jpg: .*60000 x 60000 pixels take 13,733 MiB"):
        decode(str(path))


def test_of_a_strip_only_the_box_that_is_kept_is_scaled(tmp_path):
    Image.new("RGB", (20_000, 1), (10, 20, 30)).save(tmp_path / "strip.png")
    tracemalloc.start()
    pixels, size = decode(str(tmp_path / "strip.png"), None, ENOUGH)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == (1, 20_000)
    assert pixels.shape == (224, 224, 3)
    assert (pixels == torch.tensor([10, 20, 30])).all()
    assert peak < 2**22


def test_the_box_of_a_strip_shows_what_the_crop_of_the_whole_shows(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (5, 60, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    whole = image.resize((120, 10), Image.Resampling.BILINEAR).crop((56, 1, 64, 9))
    assert np.abs(np.asarray(ResizeCrop(10, 8)(image)).astype(int) - np.asarray(whole)).max() <= 1


def test_no_other_program_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("Ghostscript"))
    Image.new("RGB", (4, 4)).save(tmp_path / "a.eps")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.eps").read_bytes())
    with pytest.raises(InputError, match=r"a\.png: cannot identify"):
        decode(str(tmp_path / "a.png"))
    Image.init()
    assert {Image.EXTENSION[ending] for ending in ENDINGS} == set(FORMATS)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([[0.0, 0.5], [0.25, 1.0]], np.float32), [0, 128, 64, 255]),
        (np.array([[0.0, 128.0], [64.0, 255.0]], np.float32), [0, 128, 64, 255]),
        (np.array([[0, 128], [64, 255]], np.int32), [0, 128, 64, 255]),
        (np.array([[0, 128 << 8], [64 << 8, 65535]], np.int32), [0, 128, 64, 255]),
    ],
)
def test_values_are_scaled_by_their_range(tmp_path, values, wanted):
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert decode(str(tmp_path / "a.tif"))[0][..., 0].flatten().tolist() == wanted


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([[-1.0, 1.0]], np.float32), "mode F has values from -1 to 1: .* from 0 to 1 or 0 to 255"),
        (np.array([[0.0, 3000.0]], np.float32), "mode F has values from 0 to 3000"),
        (np.array([[np.nan, 1.0]], np.float32), "mode F has values from nan to nan"),
        (np.array([[0, 70_000]], np.int32), "mode I has values from 0 to 70000"),
    ],
)
def test_values_of_an_unknown_range_are_refused(tmp_path, values, words):
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match=rf"a\.tif: its {words}"):
        decode(str(tmp_path / "a.tif"))


def test_the_key_reaches_every_image(tmp_path):
    Image.new("RGB", (600, 600)).save(tmp_path / "a.png")
    part = source(Listing(ImageList((str(tmp_path / "a.png"),), (0,), ("a",)), test_share=0.5)).train
    assert part.fetch(torch.tensor([0])).shape == (1, 3, 600, 600)
    with pytest.raises(InputError, match="image_limit_mb=1:"):
        _limited(part, 1).fetch(torch.tensor([0]))


@pytest.mark.parametrize("read", [decode, header_size])
def test_a_pipe_is_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("pipe.jpg")
    for name in ("pipe.jpg", "link.jpg"):
        with pytest.raises(InputError, match=f"cannot read the image .*{name}: it is a pipe"):
            read(str(tmp_path / name))
