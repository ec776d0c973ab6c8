"""Trunks from backbone configs, and the two bodies that are written here."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import nn

from metriscope.config.sections import SECTIONS
from metriscope.errors import InputError
from metriscope.models.pooling import Pool, Pooling
from metriscope.models.shapes import not_for_pairs, of_pairs, require_image
from metriscope.models.trunk import Body, Shape, Trunk
from metriscope.models.weights import load_weights
from metriscope.parts import instantiate, judged

_Count = Annotated[int, Field(ge=1)]
_Widths = Annotated[Sequence[_Count], Field(min_length=1)]


@judged
def mlp(shape: Shape, *, widths: _Widths = (512, 512)) -> Body:
    """Fully connected layers with batch norm and ReLU on the flattened input."""
    if of_pairs(shape):
        raise not_for_pairs("mlp", shape)
    size = int(torch.Size(shape).numel())
    layers: list[nn.Module] = [nn.Flatten()]
    for width in widths:
        layers += [nn.Linear(size, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        size = width
    return Body(nn.Sequential(*layers), size)


@judged
def small_cnn(
    shape: Shape, *, widths: _Widths = (16, 32, 128), stem_kernel_size: _Count = 5, pooling: Pool = "avg"
) -> Body:
    """One block of convolution, max-pool by 2, batch norm, ReLU per width; then pooling over positions.

    The first convolution has its own kernel size, all others 3 x 3.
    """
    if stem_kernel_size % 2 == 0:
        raise InputError(f"backbone.stem_kernel_size={stem_kernel_size}: it has to be odd")
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


def build_trunk(cfg: Mapping[str, Any], input_shape: Shape) -> Trunk:
    """The trunk that a backbone config describes, weights loaded, for inputs of ``input_shape`` (no batch axis).

    The ``_target_`` of the config is called with ``shape`` and the config's own keys, and returns a :class:`Body`.

    Raises:
        InputError: unknown key, a shape that the trunk cannot read, or weights that cannot be loaded.
    """
    own = SECTIONS["backbone"].arguments(cfg)
    body = instantiate(own, "backbone", shape=tuple(input_shape))
    if not isinstance(body, Body):
        raise InputError(f"backbone._target_={own['_target_']}: it has to return a metriscope.models.trunk.Body")
    name, weights = own["name"], cfg.get("weights")
    if of_pairs(tuple(input_shape)) and not body.paired:
        raise not_for_pairs(str(own["name"]), tuple(input_shape))
    report = None if weights is None else load_weights(body.module, str(weights), name, body.pretrained, body.adapt)
    habits = {key: bool(cfg.get(key, False)) for key in ("freeze", "freeze_batch_norm", "channels_last")}
    described = {key: value for key, value in own.items() if key != "_target_"}
    config = {"library": cfg.get("library"), **described}
    trunk = Trunk(body, **habits, precision=cfg.get("precision"), config=config)
    trunk.loaded = report
    return trunk
