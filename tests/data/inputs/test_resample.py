import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from metriscope.data.inputs.resample import _by_weights, resize_center_crop, resized_crops


def smooth(*shape):
    """Images without single-pixel noise, in which every filter would differ."""
    return tv.gaussian_blur(torch.randint(256, shape, dtype=torch.uint8), [5, 5])


@pytest.fixture
def case():
    images = smooth(12, 3, 40, 60)
    top, left = torch.randint(30, (12,)), torch.randint(45, (12,))
    height, width = (torch.rand(12) * (40 - top)).long() + 1, (torch.rand(12) * (60 - left)).long() + 1
    boxes = torch.stack([top, left, height, width], 1)
    boxes[0], boxes[1] = torch.tensor([0, 0, 40, 60]), torch.tensor([39, 59, 1, 1])
    return images, boxes, torch.arange(12) % 2 == 0


@pytest.mark.parametrize("size", [7, 32, 90])
@pytest.mark.parametrize("threads", [1, 2])
def test_crops_are_torchvisions(case, size, threads):
    images, boxes, mirrored = case
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = resized_crops(images, boxes, mirrored, size)
    finally:
        torch.set_num_threads(before)
    assert found.is_contiguous(memory_format=torch.channels_last)
    for image, box, flip, mine in zip(images, boxes.tolist(), mirrored, found, strict=True):
        theirs = tv.resized_crop(image, *box, [size, size], antialias=True)
        assert torch.equal(mine, tv.horizontal_flip(theirs) if flip else theirs)


@pytest.mark.parametrize("size", [7, 32, 90])
def test_weights_give_what_the_kernel_gives(case, size):
    """The way of devices that have no kernel for bytes: rounding happens once instead of twice."""
    kernel, weights = resized_crops(*case, size), _by_weights(*case, size)
    assert (kernel.int() - weights.int()).abs().max() <= 2
    assert (kernel.float() - weights.float()).abs().mean() < 0.5
    assert weights.is_contiguous(memory_format=torch.channels_last)


def test_no_images():
    nothing = torch.empty(0, 3, 8, 8, dtype=torch.uint8), torch.empty(0, 4).long(), torch.empty(0).bool()
    assert resized_crops(*nothing, 5).shape == (0, 3, 5, 5)


@pytest.mark.parametrize("shape", [(256, 300), (375, 500), (100, 77), (33, 32)])
def test_centre(shape):
    images = smooth(2, 3, *shape)
    assert torch.equal(resize_center_crop(images, 64, 56), tv.center_crop(tv.resize(images, 64), 56))
