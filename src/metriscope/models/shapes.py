"""What images a network can read, and how many features it makes of them."""

import torch
from torch import nn

from metriscope.errors import InputError


def require_image(name: str, shape: tuple[int, ...]) -> int:
    """The channels of images (C, H, W).

    Raises:
        InputError: the data are not images.
    """
    if len(shape) != 3:
        raise InputError(f"{name} reads images (channels, height, width) and the data gives {tuple(shape)}: use mlp")
    return shape[0]


def require_rgb(name: str, shape: tuple[int, ...]) -> None:
    """InputError for anything but grey and RGB images."""
    if require_image(name, shape) not in (1, 3):
        raise InputError(f"{name} reads images of 1 or 3 channels and the data has {shape[0]}: use small_cnn")


def probed(net: nn.Module, name: str, shape: tuple[int, ...]) -> int:
    """How many features F the network makes of an RGB image of this size, by trying.

    Raises:
        InputError: it cannot read that size, or gives no vector.
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
