"""Trunks from backbone configs: bodies by name, and the libraries that offer further ones.

The functions in ``BODIES`` and ``LIBRARIES`` make the bodies. Their keyword arguments are the keys of
``configs/backbone/<name>.yaml`` other than those that every trunk has.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from metriscope.errors import InputError
from metriscope.models.pooling import Pooling
from metriscope.models.shapes import require_image
from metriscope.models.timm import efficientnet_lite0, timm_model
from metriscope.models.torchvision import resnet18, resnet18_cifar, resnet50, torchvision_model, vit_b_32
from metriscope.models.trunk import Body, Shape, Trunk
from metriscope.models.weights import load_weights


def mlp(shape: Shape, *, widths: Sequence[int] = (512, 512)) -> Body:
    """Fully connected layers with batch norm and ReLU on the flattened input."""
    _positive("backbone.widths", widths)
    size = int(torch.Size(shape).numel())
    layers: list[nn.Module] = [nn.Flatten()]
    for width in widths:
        layers += [nn.Linear(size, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        size = width
    return Body(nn.Sequential(*layers), size)


def small_cnn(
    shape: Shape, *, widths: Sequence[int] = (16, 32, 128), stem_kernel_size: int = 5, pooling: str = "avg"
) -> Body:
    """One block of convolution, max-pool by 2, batch norm, ReLU per width; then pooling over positions.

    The first convolution has its own kernel size, all others 3 x 3.
    """
    _positive("backbone.widths", widths)
    if stem_kernel_size < 1 or stem_kernel_size % 2 == 0:
        raise InputError(f"backbone.stem_kernel_size must be odd and positive, got {stem_kernel_size}")
    channels = in_channels = require_image("small_cnn", shape)
    layers: list[nn.Module] = []
    kernel_size = stem_kernel_size
    for width in widths:
        # Pooling comes first, so that batch norm and ReLU handle only a quarter of the positions.
        layers += [
            nn.Conv2d(channels, width, kernel_size, padding=kernel_size // 2, bias=False),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels, kernel_size = width, 3
    return Body(nn.Sequential(*layers, Pooling(pooling)), channels, in_channels)


BODIES: dict[str, Callable[..., Body]] = {
    "mlp": mlp,
    "small_cnn": small_cnn,
    "resnet18_cifar": resnet18_cifar,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vit_b_32": vit_b_32,
    "efficientnet_lite0": efficientnet_lite0,
}
# The libraries (backbone.library) whose models are selected by their own names.
LIBRARIES: dict[str, Callable[..., Body]] = {"timm": timm_model, "torchvision": torchvision_model}


def build_trunk(cfg: Mapping[str, Any], input_shape: Shape) -> Trunk:
    """The trunk that a backbone config names, weights loaded, for inputs of ``input_shape`` (no batch axis).

    Raises:
        InputError: unknown name or key, a shape that the trunk cannot read, weights that cannot be loaded.
    """
    own = dict(cfg)
    name, weights, library = own.pop("name"), own.pop("weights", None), own.pop("library", None)
    habits: dict[str, Any] = {
        key: bool(own.pop(key, False)) for key in ("freeze", "freeze_batch_norm", "channels_last")
    }
    habits["precision"] = own.pop("precision", None)
    for key in ("mean", "std", "cache_features"):  # keys for the data, not for the trunk
        own.pop(key, None)
    build = _builder(name, library)
    known = [key for key in inspect.signature(build).parameters if key not in ("shape", "name")]
    if stray := [key for key in own if key not in known]:
        raise InputError(f"backbone {name} has no key {stray[0]!r}; its own keys: {', '.join(known) or 'none'}")
    body = build(tuple(input_shape), **own)
    report = None if weights is None else load_weights(body.module, str(weights), name, body.pretrained, body.adapt)
    trunk = Trunk(body, **habits, config={"name": name, "library": library, **own})
    trunk.loaded = report
    return trunk


def _builder(name: str, library: str | None) -> Callable[..., Body]:
    if library is None and name in BODIES:
        return BODIES[name]
    if library in LIBRARIES:
        return partial(LIBRARIES[library], name=name)
    if library is not None:
        raise InputError(f"backbone.library: unknown library {library!r}; there are {', '.join(LIBRARIES)}")
    raise InputError(
        f"backbone.name: unknown trunk {name!r}; there are {', '.join(BODIES)}, and those of a library "
        f"(backbone=timm backbone.name={name})"
    )


def _positive(key: str, widths: Sequence[int]) -> None:
    if not widths or any(width < 1 for width in widths):
        raise InputError(f"{key} must list at least one positive width, got {list(widths)}")
