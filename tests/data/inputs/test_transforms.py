import random

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from metriscope.data.inputs.images import Squashed
from metriscope.data.inputs.transforms import Transforms
from metriscope.errors import InputError, RunError
from metriscope.parts import check_section, instantiate

TARGET = "metriscope.data.inputs.transforms.Transforms"
LIST = [
    {"name": "RandomResizedCrop", "size": 12},
    {"name": "ColorJitter", "brightness": 0.4},
    {"name": "GaussianNoise"},
]


def images(count=4, height=16, width=16):
    return torch.randint(256, (count, 3, height, width), dtype=torch.uint8)


def numbers(count, seed=5):
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(seed))


def augmented(augmentation, inputs, numbers):
    return augmentation(augmentation.plan(inputs, numbers))


def test_each_image_is_what_the_list_makes_of_it_with_its_own_seed():
    augmentation = Transforms([{"name": "RandomCrop", "size": 9}, {"name": "RandomInvert", "p": 0.5}], size=9)
    inputs = images(3, augmentation.stored_size, augmentation.stored_size)
    planned = augmentation.plan(inputs, numbers(3))
    steps = v2.Compose([v2.RandomCrop(9), v2.RandomInvert(0.5)])
    for image, seed, seen in zip(inputs, planned.seeds, augmentation._augment_all(planned), strict=True):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            assert torch.equal(seen, steps(image))


def test_numbers_alone_decide_and_global_generators_stay():
    augmentation = Transforms(LIST, size=12)
    inputs, drawn = images(), numbers(4)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first = augmented(augmentation, inputs, drawn)
    after = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    torch.rand(7)
    assert torch.equal(first, augmented(augmentation, inputs, drawn))
    # An image's result does not depend on what stands before it in the batch.
    assert torch.equal(first[2:], augmented(augmentation, inputs[2:], drawn[2:]))
    same = augmented(augmentation, inputs[:1].repeat(4, 1, 1, 1), drawn)
    assert len({tuple(image.flatten().tolist()) for image in same}) == 4
    assert not torch.equal(first, augmented(augmentation, inputs, numbers(4, seed=6)))


def test_squashed_images_get_their_aspect_back():
    seen = []
    augmentation = Transforms([{"name": "CenterCrop", "size": 8}], size=8, resize=10)
    augmentation._steps[0].register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
    sizes = torch.tensor([[20, 40], [60, 20], [15, 15], [10, 1000]])
    assert augmented(augmentation, Squashed(images(4, 10, 10), sizes), numbers(4)).shape == (4, 3, 8, 8)
    assert seen == [(3, 10, 20), (3, 30, 10), (3, 10, 10), (3, 10, 80)]


def test_evaluation_crops_the_centre_or_keeps_the_size():
    augmentation = Transforms(LIST, size=12, mean=[0.5], std=[0.25])
    assert augmentation.stored[1].size == 12
    assert augmentation.output_shape((3, 40, 30)) == (3, 12, 12)
    inputs = images(2, 12, 12)
    assert torch.allclose(augmentation(inputs, stored=True), (inputs / 255 - 0.5) / 0.25, atol=1e-5)
    kept = Transforms([{"name": "RandomCrop", "size": 16, "padding": 2}], size=None)
    assert kept.stored == (None, None)
    inputs = images(2)
    assert torch.allclose(kept(inputs), inputs / 255, atol=1e-5)
    assert kept.output_shape((3, 16, 16)) == (3, 16, 16)
    assert augmented(kept, images(0), numbers(0)).shape == (0, 3, 16, 16)


def test_lists_within_the_list_and_names_of_members():
    entries = [
        {"name": "RandomApply", "p": 1.0, "transforms": [{"name": "GaussianBlur", "kernel_size": 3}]},
        {"name": "RandomChoice", "transforms": [{"name": "RandAugment"}, {"name": "AutoAugment", "policy": "cifar10"}]},
        {"name": "Resize", "size": [6, 6], "interpolation": "bicubic"},
    ]
    assert augmented(Transforms(entries, size=6), images(), numbers(4)).shape == (4, 3, 6, 6)


@pytest.mark.parametrize(
    ("entries", "line"),
    [
        ([{"name": "RandomCrp", "size": 3}], r"\[0\]\.name=RandomCrp: torchvision.* did you mean 'RandomCrop'\?"),
        ([{"name": "RandomCrop", "siz": 3}], r"\[0\]\.siz: RandomCrop takes no such argument; did you mean 'size'\?"),
        ([{"name": "RandomCrop", "size": "a"}], r"\[0\]\.size=a: it has to be a whole number"),
        ([{"name": "RandomCrop"}], r"\[0\]\.size: RandomCrop needs a value for it"),
        ([{"name": "ColorJitter", "hue": 2}], r"\[0\]\.name=ColorJitter: it refuses its arguments: hue values"),
        ([{"name": "AutoAugment", "policy": "cifr10"}], r"\[0\]\.policy=cifr10: .* did you mean 'cifar10'\?"),
        ([{"name": "Lambda", "lambd": "print"}], r"\[0\]\.name=Lambda: a config holds neither code nor tensors"),
        ([{"name": "MixUp"}], r"\[0\]\.name=MixUp: it mixes the labels"),
        ([{"name": "Normalize", "mean": [0], "std": [1]}], r"\[0\]\.name=Normalize: images are normalised after"),
        ([{"name": "functional"}], r"\[0\]\.name=functional: torchvision"),
        ([{"name": "Compose", "transforms": [{"name": "Pad"}]}], r"\[0\]\.transforms\[0\]\.padding: Pad needs"),
        ([{"size": 3}], r"\[0\]\.name: an entry is a mapping with the name"),
        ([], r"=\[\]: it has to be a list of mappings"),
    ],
)
def test_what_no_list_can_hold_is_one_line(entries, line):
    with pytest.raises(InputError, match=rf"^augmentation\.transforms{line}"):
        check_section({"_target_": TARGET, "transforms": entries}, "augmentation", {"mean": None, "std": None})


@pytest.mark.parametrize("place", [[], ["transforms"]])
def test_a_list_names_no_code(place, tmp_path):
    """Elsewhere in a config a section with a _target_ becomes the part that it names."""
    section = {"_target_": "pathlib.Path.touch", "self": tmp_path / "made"}
    entries = [{"name": "RandomApply", "transforms": [section]}] if place else [section]
    for judge in (check_section, instantiate):
        with pytest.raises(InputError, match=r"^augmentation\.transforms\[0\].*name: an entry is a mapping"):
            judge({"_target_": TARGET, "transforms": entries}, "augmentation")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("entries", "size", "line"),
    [
        ([{"name": "CenterCrop", "size": 8}], 9, "turn an image of 3x10x10 uint8 into 3x8x8 uint8, and .* 3x9x9 uint8"),
        ([{"name": "FiveCrop", "size": 9}], 9, "turn an image of 3x10x10 uint8 into a tuple"),
        ([{"name": "RandomCrop", "size": 30}], 9, r"RandomCrop fails on an image of 3x10x10 uint8: Required crop size"),
        ([{"name": "Grayscale", "num_output_channels": 1}], None, "turn an image of 3x5x5 uint8 into 1x5x5 uint8"),
    ],
)
def test_a_list_that_leads_elsewhere_is_refused_before_training(entries, size, line):
    augmentation = Transforms(entries, size=size)
    with pytest.raises(InputError, match=line):
        augmentation.check_shape((3, size or 5, size or 5))
    with pytest.raises(RunError):
        augmented(augmentation, images(2, 5, 5), numbers(2))


def test_vectors_are_refused():
    with pytest.raises(InputError, match=r"^augmentation\.transforms are for images, .* set augmentation=none$"):
        Transforms(LIST).check_shape((6,))
    with pytest.raises(
        RunError, match=r"^augmentation\.transforms are for uint8 images, and the data are float32: set"
    ):
        Transforms(LIST).plan(images().float(), numbers(4))


def test_sizes_that_contradict_each_other():
    with pytest.raises(InputError, match="resize=8: it has to be null, as size=null keeps"):
        Transforms(LIST, size=None, resize=8)
    with pytest.raises(InputError, match="resize=8: the centre crop needs at least size=12"):
        Transforms(LIST, size=12, resize=8)
