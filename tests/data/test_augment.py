import pytest
import torch

from metriscope.data.augment import Augmentation
from metriscope.errors import InputError


def crop_and_flip_by_hand(images, pad, shift, mirrored):
    B, _, H, W = images.shape
    result = torch.zeros_like(images)
    for b in range(B):
        for y in range(H):
            for x in range(W):
                column = W - 1 - x if mirrored[b] else x
                source_y, source_x = y + int(shift[0][b]) - pad, column + int(shift[1][b]) - pad
                if 0 <= source_y < H and 0 <= source_x < W:
                    result[b, :, y, x] = images[b, :, source_y, source_x]
    return result


@pytest.mark.parametrize("shape", [(6, 3, 8, 5), (1, 1, 4, 4), (0, 3, 4, 4)])
@pytest.mark.parametrize(("pad", "flip"), [(2, True), (4, False), (0, True), (0, False)])
def test_matches_a_loop_over_pixels(shape, pad, flip):
    images = torch.randint(256, shape, dtype=torch.uint8)
    augmented = Augmentation(pad, flip).crop_and_flip(images, torch.Generator().manual_seed(5))
    source = torch.Generator().manual_seed(5)
    shift, mirrored = torch.zeros(2, shape[0]), torch.zeros(shape[0])
    if pad:
        shift = torch.randint(2 * pad + 1, (2, shape[0], 1), generator=source).squeeze(2)
    if flip:
        mirrored = torch.rand(shape[0], 1, generator=source).squeeze(1) < 0.5
    assert torch.equal(augmented, crop_and_flip_by_hand(images, pad, shift, mirrored))


def test_offsets_and_flips_reach_every_value():
    images = torch.zeros(2000, 1, 5, 5, dtype=torch.uint8)
    images[:, :, 2, 2] = 1
    augmented = Augmentation(pad=1, flip=True)(images, torch.Generator().manual_seed(0))
    hits = (augmented > 0).sum(0)[0]
    assert (hits[1:4, 1:4] > 150).all()
    assert hits.sum() == 2000


def test_normalises_per_channel_and_does_not_touch_the_stored_images():
    images = torch.randint(256, (4, 3, 6, 6), dtype=torch.uint8)
    before = images.clone()
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 1.0]
    result = Augmentation(4, True, mean, std)(images)
    by_hand = (before.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(result, by_hand.float())
    assert torch.equal(images, before)
    assert Augmentation()(images).max() <= 1


def test_vectors_pass_through():
    vectors = torch.randn(4, 7)
    assert Augmentation(4, True, [0.5], [2.0])(vectors, torch.Generator()) is vectors


def test_settings_that_make_no_sense():
    for arguments in ({"pad": -1}, {"std": [0.0]}, {"mean": [0.1, 0.2], "std": [1.0, 1.0, 1.0]}):
        with pytest.raises(InputError):
            Augmentation(**arguments)
    with pytest.raises(InputError, match=r"3 values.*1 channels"):
        Augmentation(mean=[0, 0, 0], std=[1, 1, 1]).check((1, 8, 8))
    Augmentation(mean=[0], std=[1]).check((3, 8, 8))
