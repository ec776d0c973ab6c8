"""Signatures of generated images: copies lie close, other images do not."""

import pytest
import torch
from PIL import Image

from metriscope.data.audit.signature import THUMBNAIL, image_signatures, vector_signatures
from metriscope.data.inputs.decoding import Square, decode


def scene(seed, size=(96, 64)):
    """A smooth picture of random colours, as a photograph would be, of moderate brightness."""
    source = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 7, generator=source) * 150 + 40
    pixels = torch.nn.functional.interpolate(coarse, size[::-1], mode="bicubic").clamp(0, 255)
    return Image.fromarray(pixels[0].permute(1, 2, 0).byte().contiguous().numpy())


def signature(image, path, **options):
    image.save(path, **options)
    pixels, _ = decode(str(path), None, Square(THUMBNAIL))
    return image_signatures(pixels.permute(2, 0, 1)[None])[0]


def distance(a, b):
    return float(((a - b).square().sum() / 2).sqrt())


@pytest.mark.parametrize(
    ("change", "options", "low", "high"),
    [
        (lambda image: image, {}, 0, 0),
        (lambda image: image, {"quality": 30}, 1e-4, 0.1),
        (lambda image: image.resize((70, 50)), {"quality": 90}, 1e-4, 0.1),
        (lambda image: image.resize((192, 128)), {"quality": 90}, 1e-4, 0.1),
        (lambda image: image.point(lambda value: value + 30), {}, 1e-4, 0.1),
        (lambda image: image.point(lambda value: value * 0.7), {}, 1e-4, 0.1),
        (lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), {}, 0.3, 2),
        (lambda image: Image.merge("RGB", image.split()[::-1]), {}, 0.3, 2),
        (lambda image: scene(2), {}, 0.5, 2),
    ],
    ids=["copy", "encoded", "smaller", "larger", "brighter", "darker", "mirrored", "other colours", "other"],
)
def test_distances_of_changed_copies(tmp_path, change, options, low, high):
    first = signature(scene(1), tmp_path / "first.jpg", quality=75)
    ending = "second.jpg"
    second = signature(change(scene(1)), tmp_path / ending, **({"quality": 75} | options))
    assert low <= distance(first, second) <= high
    assert float(first.norm()) == pytest.approx(1)


def test_the_distance_is_that_of_a_correlation():
    """Of grey images with the side of the grid, sqrt(1 - r) of their pixels."""
    images = torch.randint(0, 256, (2, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    r = torch.corrcoef(images.flatten(1).double())[0, 1]
    assert distance(*image_signatures(images)) == pytest.approx(float((1 - r).sqrt()), abs=1e-6)


def test_colours_weigh_as_brightness_does():
    """Of images that are constant in cells of two pixels, nothing is lost: the distance is that of the pixels."""
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 8, 8), generator=source).repeat_interleave(2, 2).repeat_interleave(2, 3)
    centred = images.double() - images.double().mean(1).mean((1, 2))[:, None, None, None]
    units = torch.nn.functional.normalize(centred.flatten(1))
    assert distance(*image_signatures(images.byte())) == pytest.approx(distance(*units), abs=1e-6)


@pytest.mark.parametrize("value", [0, 255])
def test_an_image_without_contrast_has_none(value):
    images = torch.full((1, 3, 20, 20), value, dtype=torch.uint8)
    assert image_signatures(images).isnan().all()
    images[0, :, 0, 0] = 128
    assert image_signatures(images).isfinite().all()


def test_vectors_have_a_mean_squared_distance_of_two():
    vectors = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)).double() * 3 + 100
    found = vector_signatures(torch.cat([vectors, torch.full((1, 5), torch.nan)]))
    assert found[-1].isnan().all()
    distances, before = torch.pdist(found[:-1].double()), torch.pdist(vectors)
    assert float(distances.square().mean()) * 39 / 40 == pytest.approx(2, rel=1e-5)  # also of each with itself
    assert torch.allclose(distances / distances[0], before / before[0], rtol=1e-4)
    assert vector_signatures(torch.ones(3, 2)).eq(0).all()
    assert vector_signatures(torch.full((3, 2), torch.inf)).isnan().all()
