"""Trunks: networks that turn an input (B, *shape) into features (B, F), before any head.

A trunk is one class, :class:`Trunk`, around a body; the functions in ``BODIES`` make the bodies. Their
keyword arguments are the keys of ``configs/backbone/<name>.yaml`` other than those that every trunk has.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from metriscope.errors import InputError
from metriscope.models.trunk import Body, Shape, Trunk
from metriscope.models.weights import State, load_weights


class GlobalMean(nn.Module):
    """(B, C, H, W) to (B, C): the mean over positions."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean(dim=(2, 3))


def mlp(shape: Shape, *, widths: Sequence[int] = (512, 512)) -> Body:
    """Fully connected layers with batch norm and ReLU on the flattened input."""
    _positive("backbone.widths", widths)
    size = int(torch.Size(shape).numel())
    layers: list[nn.Module] = [nn.Flatten()]
    for width in widths:
        layers += [nn.Linear(size, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        size = width
    return Body(nn.Sequential(*layers), size)


def small_cnn(shape: Shape, *, widths: Sequence[int] = (16, 32, 128), stem_kernel_size: int = 5) -> Body:
    """One block of convolution, max-pool by 2, batch norm, ReLU per width; then the mean over positions.

    The first convolution has its own kernel size, all others 3 x 3.
    """
    _positive("backbone.widths", widths)
    if stem_kernel_size < 1 or stem_kernel_size % 2 == 0:
        raise InputError(f"backbone.stem_kernel_size must be odd and positive, got {stem_kernel_size}")
    channels = in_channels = _image("small_cnn", shape)
    layers: list[nn.Module] = []
    kernel_size = stem_kernel_size
    for width in widths:
        # Pooling first leaves batch norm and ReLU a quarter of the positions.
        layers += [
            nn.Conv2d(channels, width, kernel_size, padding=kernel_size // 2, bias=False),
            nn.MaxPool2d(2, ceil_mode=True),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        ]
        channels, kernel_size = width, 3
    return Body(nn.Sequential(*layers, GlobalMean()), channels, in_channels)


def resnet18_cifar(shape: Shape) -> Body:
    """ResNet-18 for images of about 32 x 32 pixels: a 3 x 3 stem of stride 1 and no max-pool."""
    channels = _image("resnet18_cifar", shape)
    net, features = _torchvision_resnet("resnet18")
    net.conv1 = nn.Conv2d(channels, 64, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()
    return Body(net, features, channels)


def resnet18(shape: Shape) -> Body:
    """torchvision's ResNet-18 (arXiv:1512.03385)."""
    return _imagenet_resnet("resnet18", shape)


def resnet50(shape: Shape) -> Body:
    """torchvision's ResNet-50 (arXiv:1512.03385), stride on the 3 x 3 convolution."""
    return _imagenet_resnet("resnet50", shape)


def vit_b_32(shape: Shape, *, image_size: int = 224) -> Body:
    """torchvision's ViT-B/32 (arXiv:2010.11929), the trunk of [VG] arXiv:2601.21450.

    Weights for another image size have their position embeddings interpolated.
    """
    from torchvision.models import vision_transformer

    if image_size < 32 or image_size % 32:
        raise InputError(f"backbone.image_size must be a multiple of the 32-pixel patch, got {image_size}")
    _rgb("vit_b_32", shape)
    if tuple(shape[1:]) != (image_size, image_size):
        raise InputError(
            f"vit_b_32 reads {image_size} x {image_size} images and the data gives {shape[1]} x {shape[2]}: "
            "resize the images, or set backbone.image_size to their size (square, a multiple of 32)"
        )
    net: Any = vision_transformer.vit_b_32(weights=None, image_size=image_size)
    net.heads = nn.Identity()

    def adapt(state: State) -> State:
        if "encoder.pos_embedding" not in state:
            return state
        return dict(vision_transformer.interpolate_embeddings(image_size, 32, state))

    return Body(net, int(net.hidden_dim), 3, adapt)


BODIES: dict[str, Callable[..., Body]] = {
    "mlp": mlp,
    "small_cnn": small_cnn,
    "resnet18_cifar": resnet18_cifar,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vit_b_32": vit_b_32,
}


def build_trunk(cfg: Mapping[str, Any], input_shape: Shape) -> Trunk:
    """The trunk that a backbone config names, weights loaded, for inputs of ``input_shape`` (no batch axis).

    Raises:
        InputError: unknown name or key, a shape that the trunk cannot read, weights that cannot be loaded.
    """
    own = dict(cfg)
    name, weights = own.pop("name"), own.pop("weights", None)
    habits: dict[str, Any] = {
        key: bool(own.pop(key, False)) for key in ("freeze", "freeze_batch_norm", "channels_last")
    }
    habits["precision"] = own.pop("precision", None)
    own.pop("cache_features", None)  # what becomes of the features is not the trunk's business
    if name not in BODIES:
        raise InputError(f"backbone.name: unknown trunk {name!r}; there are {', '.join(BODIES)}")
    known = [key for key in inspect.signature(BODIES[name]).parameters if key != "shape"]
    if stray := [key for key in own if key not in known]:
        raise InputError(f"backbone {name} has no key {stray[0]!r}; its own keys: {', '.join(known) or 'none'}")
    body = BODIES[name](tuple(input_shape), **own)
    report = None if weights is None else load_weights(body.module, str(weights), name, body.adapt)
    trunk = Trunk(body, **habits, config={"name": name, **own})
    trunk.loaded = report
    return trunk


def _torchvision_resnet(name: str) -> tuple[Any, int]:
    # Imported on use: torchvision takes longer to import than a small trunk takes to build.
    from torchvision import models

    net: Any = models.get_model(name, weights=None)
    features = int(net.fc.in_features)
    net.fc = nn.Identity()
    return net, features


def _imagenet_resnet(name: str, shape: Shape) -> Body:
    _rgb(name, shape)
    return Body(*_torchvision_resnet(name), in_channels=3)


def _image(name: str, shape: Shape) -> int:
    if len(shape) != 3:
        raise InputError(f"{name} reads images (channels, height, width) and the data gives {tuple(shape)}: use mlp")
    return shape[0]


def _rgb(name: str, shape: Shape) -> None:
    if _image(name, shape) not in (1, 3):
        raise InputError(f"{name} reads images of 1 or 3 channels and the data has {shape[0]}: use small_cnn")


def _positive(key: str, widths: Sequence[int]) -> None:
    if not widths or any(width < 1 for width in widths):
        raise InputError(f"{key} must list at least one positive width, got {list(widths)}")
