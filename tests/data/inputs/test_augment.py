import math

import pytest
import torch
from own_parts import Jitter
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from metriscope.data.inputs.augment import Augmentation
from metriscope.data.inputs.images import Squashed
from metriscope.errors import InputError


def draw(augmentation, count, seed=5):
    return torch.rand(count, augmentation.width, generator=torch.Generator().manual_seed(seed))


def augmented(augmentation, inputs, numbers):
    """Uint8, before normalisation."""
    return augmentation._augment(augmentation.plan(inputs, numbers))


def crop_and_flip_by_hand(images, pad, shift, mirrored):
    B, _, H, W = images.shape
    result = torch.zeros_like(images)
    for b in range(B):
        for y in range(H):
            for x in range(W):
                column = W - 1 - x if mirrored[b] else x
                source_y, source_x = y + int(shift[b][0]) - pad, column + int(shift[b][1]) - pad
                if 0 <= source_y < H and 0 <= source_x < W:
                    result[b, :, y, x] = images[b, :, source_y, source_x]
    return result


@pytest.mark.parametrize("shape", [(6, 3, 8, 5), (1, 1, 4, 4), (0, 3, 4, 4)])
@pytest.mark.parametrize(("pad", "flip"), [(2, True), (4, False), (0, True)])
def test_padding_matches_a_loop_over_pixels(shape, pad, flip):
    images = torch.randint(256, shape, dtype=torch.uint8)
    augmentation = Augmentation("pad", pad=pad, flip=flip)
    numbers = draw(augmentation, shape[0])
    shift = (numbers[:, :2] * (2 * pad + 1)).long() if pad else torch.zeros(shape[0], 2)
    mirrored = numbers[:, -1] < 0.5 if flip else torch.zeros(shape[0])
    by_hand = crop_and_flip_by_hand(images, pad, shift, mirrored)
    assert torch.equal(augmented(augmentation, images, numbers), by_hand)


def test_offsets_and_flips_reach_every_value():
    images = torch.zeros(2000, 1, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 2] = 1
    augmentation = Augmentation("pad", pad=1, flip=True)
    hits = augmented(augmentation, images, draw(augmentation, 2000)).sum(0, dtype=torch.int64)[0]
    assert (hits[1:4, 1:4] > 150).all()
    assert hits.sum() == 2000
    edge = Augmentation("pad", pad=1).plan(images[:2], torch.tensor([[0.0, 0.0], [1 - 2**-24, 1 - 2**-24]]))
    assert edge.boxes[:, :2].tolist() == [[-1, -1], [1, 1]]


def test_nothing_random_changes_nothing():
    images = torch.randint(256, (4, 3, 6, 6), dtype=torch.uint8)
    for augmentation in (Augmentation(), Augmentation("pad", pad=0)):
        assert augmentation.width == 0
        assert augmentation.plan(images, draw(augmentation, 4)) is images


def test_normalises_per_channel_and_does_not_touch_the_stored_images():
    images = torch.randint(256, (4, 3, 6, 6), dtype=torch.uint8)
    before = images.clone()
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 1.0]
    result = Augmentation("pad", pad=4, flip=True, mean=mean, std=std)(images)
    by_hand = (before.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(result, by_hand.float())
    assert torch.equal(images, before)
    assert Augmentation()(images).max() <= 1


@pytest.mark.parametrize("crop", ["pad", "random_resized"])
def test_vectors_pass_through(crop):
    vectors = torch.randn(4, 7)
    augmentation = Augmentation(crop, pad=4, flip=True, mean=[0.5], std=[2.0])
    assert augmentation(augmentation.plan(vectors, draw(augmentation, 4))) is vectors
    assert augmentation.output_shape((7,)) == (7,)


def random_resized(**options):
    return Augmentation("random_resized", size=32, resize=40, **options)


@pytest.mark.parametrize("shape", [(48, 64), (64, 48), (50, 50), (20, 200)])
def test_boxes_are_distributed_as_torchvisions(shape):
    """Means and spreads of area, ratio and place of 4,000 crops, to five standard errors."""
    count = 4000
    augmentation = random_resized(scale=(0.2, 0.9))
    images = torch.zeros(1, 3, *shape, dtype=torch.uint8).expand(count, -1, -1, -1)
    ours = augmentation.plan(images, draw(augmentation, count)).boxes.double()
    torch.manual_seed(0)
    one = torch.zeros(3, *shape)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(one, [0.2, 0.9], [3 / 4, 4 / 3]) for _ in range(count)]
    ).double()
    for boxes in (ours, theirs):
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2:] >= 1).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= torch.tensor(shape)).all()
    for what in (
        lambda b: b[:, 2] * b[:, 3],
        lambda b: (b[:, 3] / b[:, 2]).log(),
        lambda b: b[:, 0],
        lambda b: b[:, 1],
        lambda b: (b[:, 2] * b[:, 3]).square(),
        lambda b: b[:, 0] * b[:, 1],
    ):
        mine, other = what(ours), what(theirs)
        error = math.sqrt(float(mine.var() + other.var()) / count)
        assert abs(float(mine.mean() - other.mean())) <= 5 * error + 1e-9


def test_in_memory_images_are_cropped_as_torchvision_does():
    images = torch.randint(256, (20, 3, 50, 70), dtype=torch.uint8)
    augmentation = random_resized(flip=True)
    planned = augmentation.plan(images, draw(augmentation, 20))
    assert 0 < planned.mirrored.sum() < 20
    ours = augmented(augmentation, images, draw(augmentation, 20))
    for image, box, mirrored, mine in zip(images, planned.boxes.tolist(), planned.mirrored, ours, strict=True):
        theirs = tv.resized_crop(image, *box, [32, 32], antialias=True)
        assert torch.equal(mine, tv.horizontal_flip(theirs) if mirrored else theirs)


def test_boxes_of_squashed_images_are_drawn_in_the_images_own_aspect():
    """Squares that were wide images: crops are narrower in the square than in the image, by as much."""
    pixels = torch.zeros(500, 3, 64, 64, dtype=torch.uint8)
    augmentation = random_resized(scale=(0.3, 0.5), ratio=(1.0, 1.0))
    sizes = torch.tensor([[100, 200]]).expand(500, 2)
    boxes = augmentation.plan(Squashed(pixels, sizes), draw(augmentation, 500)).boxes
    height, width = boxes[:, 2] * 100 / 64, boxes[:, 3] * 200 / 64
    assert ((height - width).abs() <= 100 / 64 + 200 / 64).all()
    share = height * width / 20_000
    assert 0.27 < share.min() < share.max() < 0.54
    assert (boxes[:, :2] + boxes[:, 2:] <= 64).all()


def test_evaluation_of_in_memory_images():
    for shape in ((48, 64), (64, 48), (40, 40), (39, 80)):
        images = torch.randint(256, (4, 3, *shape), dtype=torch.uint8)
        theirs = tv.center_crop(tv.resize(images, 40, antialias=True), 32)
        assert torch.equal((random_resized()(images) * 255).round().byte(), theirs)
    ready = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    assert torch.equal((random_resized()(ready, stored=True) * 255).round().byte(), ready)


def test_the_usual_sizes():
    augmentation = Augmentation("random_resized")
    assert (augmentation.size, augmentation.resize, augmentation.stored_size) == (224, 256, 256)
    assert Augmentation("random_resized", size=112).resize == 128
    assert augmentation.output_shape((3, 500, 375)) == (3, 224, 224)
    assert Augmentation("pad", pad=4).output_shape((3, 500, 375)) == (3, 500, 375)


@pytest.mark.parametrize(
    "arguments",
    [
        {"crop": "centre"},
        {"pad": -1},
        {"std": [0.0]},
        {"mean": [0.1, 0.2], "std": [1.0, 1.0, 1.0]},
        {"crop": "random_resized", "size": 0},
        {"crop": "random_resized", "size": 32, "resize": 31},
        {"crop": "random_resized", "scale": [0.5, 1.5]},
        {"crop": "random_resized", "scale": [0.5, 0.1]},
        {"crop": "random_resized", "ratio": [0.0, 1.0]},
        {"crop": "random_resized", "ratio": [1.0]},
        {"views": 2},
        {"flip": True, "views": 0},
    ],
)
def test_settings_that_make_no_sense(arguments):
    with pytest.raises(InputError) as error:
        Augmentation(**arguments)
    assert "\n" not in str(error.value)


def test_an_augmentation_of_ones_own_says_what_it_is_made_of():
    own = Jitter(0.25, views=2, mean=[0.5])
    assert own.facts(True) == Augmentation(mean=[0.5]).facts(True) | {
        "class": "own_parts.Jitter",
        "own": {"radius": 0.25},
    }
    points = torch.zeros(3, 8)
    moved = own(own.plan(points, draw(own, 3)))
    assert 0 < float(moved.abs().max()) <= 0.25
    assert own(points) is points
    with pytest.raises(InputError, match=r"^radius=-1: it has to be a number of at least 0$"):
        Jitter(-1)


def test_values_per_channel_that_do_not_fit():
    with pytest.raises(InputError, match=r"3 values.*1 channels"):
        Augmentation(mean=[0, 0, 0], std=[1, 1, 1]).check_shape((1, 8, 8))
    Augmentation(mean=[0], std=[1]).check_shape((3, 8, 8))
