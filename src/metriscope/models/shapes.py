"""Checks of the images that a network can read, and of the number of features that it gives."""

import torch
from torch import nn

from metriscope.errors import InputError


def of_pairs(shape: tuple[int, ...]) -> bool:
    """Whether an example is a pair of vectors, of as many numbers as the two sizes say."""
    return len(shape) == 2


def require_image(name: str, shape: tuple[int, ...]) -> int:
    """The channels of images (C, H, W).

    Raises:
        InputError: the data are not images.
    """
    if of_pairs(shape):
        raise not_for_pairs(name, shape, "images (channels, height, width)")
    if len(shape) != 3:
        raise InputError(f"{name} reads images (channels, height, width) and the data gives {tuple(shape)}: use mlp")
    return shape[0]


def not_for_pairs(name: str, shape: tuple[int, ...], reads: str = "one image or vector per example") -> InputError:
    """The error of a backbone that reads something else, where the data are pairs."""
    return InputError(
        f"backbone={name} reads {reads}, and the data are pairs of vectors of {shape[0]} and {shape[1]} numbers: use "
        "backbone=two_tower"
    )


def require_rgb(name: str, shape: tuple[int, ...]) -> None:
    """Raises InputError for images other than grey and RGB."""
    if require_image(name, shape) not in (1, 3):
        raise InputError(f"{name} reads images of 1 or 3 channels and the data has {shape[0]}: use small_cnn")


def probed(net: nn.Module, name: str, shape: tuple[int, ...]) -> int:
    """The number of features F that the network gives for an RGB image of this size, found by running it.

    Raises:
        InputError: the network cannot read that size, or gives no vector.
    """
    net.eval()
    try:
        with torch.no_grad():
            features = net(torch.zeros(1, 3, *shape[1:]))
    except (RuntimeError, ValueError, AssertionError, IndexError, ZeroDivisionError) as error:
        why = " ".join(str(error).split())[:200]
        raise InputError(f"{name} cannot read images of {shape[1]} x {shape[2]} pixels: {why}") from error
    if not isinstance(features, torch.Tensor) or features.ndim != 2:
        raise InputError(f"{name} gives no vector of features per image: choose another backbone.name")
    return int(features.shape[1])
