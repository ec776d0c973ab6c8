"""Bodies from torchvision's classification networks without their classifier."""

import re
from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from typing import Any

from torch import nn

from metriscope.errors import InputError, nearest
from metriscope.models.pooling import Pool, Pooling
from metriscope.models.shapes import probed, require_image, require_rgb
from metriscope.models.trunk import Body, Shape
from metriscope.models.weights import Pretrained, State, download

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The module that gives the last maps in families without a module `avgpool`: pooling is added behind it. A mean or a
# ReLU that such a network applies to the 1 x 1 maps afterwards changes nothing.
_LAST = {"densenet": "features", "mobilenet": "features", "squeezenet": "features", "shufflenet": "conv5",
         "mnasnet": "layers"}  # fmt: skip
_OPTIONS = {name: {"aux_logits": False, "init_weights": True, "transform_input": True} for name in
            ("googlenet", "inception_v3")}  # fmt: skip


def torchvision_model(shape: Shape, *, name: str, pooling: Pool | None = None) -> Body:
    """Any classification model of torchvision.

    Args:
        shape: (1 or 3, H, W).
        name: as in ``torchvision.models.list_models``.
        pooling: pooling of the last maps, see :class:`Pooling`; None for the mean. Vision transformers have a class
            token instead and accept only None.

    Raises:
        InputError: an unknown name, images that the model cannot read, or a pooling that the model does not have.
    """
    from torchvision import models

    require_rgb(name, shape)
    if name not in (names := models.list_models(module=models)):
        raise InputError(f"backbone.name={name}: torchvision has no such model{nearest(name, names)}")
    if name.startswith("vit_"):
        if pooling is not None:
            raise InputError(f"backbone.pooling={pooling}: {name} has a class token and no maps to pool; set null")
        return _vision_transformer(name, shape, shape[1])
    net: Any = models.get_model(name, weights=None, **_OPTIONS.get(name, {}))
    _cut(net, name, Pooling(pooling or "avg", keepdim=True))
    return Body(net, probed(net, name, shape), 3, pretrained=_pretrained(name))


def resnet18(shape: Shape, *, pooling: Pool = "avg") -> Body:
    """torchvision's ResNet-18 (arXiv:1512.03385)."""
    return torchvision_model(shape, name="resnet18", pooling=pooling)


def resnet50(shape: Shape, *, pooling: Pool = "avg") -> Body:
    """torchvision's ResNet-50 (arXiv:1512.03385), stride on the 3 x 3 convolution."""
    return torchvision_model(shape, name="resnet50", pooling=pooling)


def resnet18_cifar(shape: Shape, *, pooling: Pool = "avg") -> Body:
    """ResNet-18 for images of about 32 x 32 pixels: a 3 x 3 stem of stride 1 and no max-pool."""
    from torchvision.models import resnet18

    channels = require_image("resnet18_cifar", shape)
    net: Any = resnet18(weights=None)
    net.conv1 = nn.Conv2d(channels, 64, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
    net.maxpool = nn.Identity()
    features = int(net.fc.in_features)
    _cut(net, "resnet18", Pooling(pooling, keepdim=True))
    return Body(net, features, channels)


def vit_b_32(shape: Shape, *, image_size: int = 224) -> Body:
    """torchvision's ViT-B/32 (arXiv:2010.11929), the trunk of [VG] arXiv:2601.21450.

    Weights for another image size have their position embeddings interpolated.
    """
    require_rgb("vit_b_32", shape)
    if image_size < 32 or image_size % 32:
        raise InputError(f"backbone.image_size must be a multiple of the 32-pixel patch, got {image_size}")
    return _vision_transformer("vit_b_32", shape, image_size)


def _vision_transformer(name: str, shape: Shape, image_size: int) -> Body:
    from torchvision.models import get_model, vision_transformer

    patch = int(name.rsplit("_", 1)[1])
    if tuple(shape[1:]) != (image_size, image_size) or image_size % patch:
        raise InputError(
            f"{name} reads {image_size} x {image_size} images and the data gives {shape[1]} x {shape[2]}: "
            f"resize the images, or set backbone.image_size to their size (square, a multiple of {patch})"
        )
    net: Any = get_model(name, weights=None, image_size=image_size)
    net.heads = nn.Identity()

    def adapt(state: State) -> State:
        if "encoder.pos_embedding" not in state:
            return state
        return dict(vision_transformer.interpolate_embeddings(image_size, patch, state))

    return Body(net, int(net.hidden_dim), 3, adapt, _pretrained(name))


def _cut(net: Any, name: str, pooling: Pooling) -> None:
    """Puts ``pooling`` behind the last maps and removes the layers that classify."""
    for part in ("fc", "classifier", "head"):
        layers = getattr(net, part, None)
        if layers is not None:
            kept = takewhile(_describes, layers if isinstance(layers, nn.Sequential) else [layers])
            setattr(net, part, nn.Sequential(*kept))
    family = re.split(r"\d|_", name)[0]
    if hasattr(net, "avgpool"):
        net.avgpool = pooling
    elif family in _LAST:
        if family == "densenet":
            net.features.append(nn.ReLU(inplace=True))
        getattr(net, _LAST[family]).append(pooling)
    else:  # MaxViT pools at the head of its classifier
        net.classifier[0] = pooling


def _describes(layer: nn.Module) -> bool:
    """Whether a layer behind the maps belongs to the features (a norm) and not to the classifier."""
    return not isinstance(layer, nn.Linear | nn.Conv2d | nn.Dropout)


def _pretrained(name: str) -> dict[str, Pretrained]:
    from torchvision.models import get_model_weights

    def entry(key: str, member: Any) -> Pretrained:
        mean, std = (_statistic(member, which) for which in ("mean", "std"))
        return Pretrained(partial(download, key, member.url), mean or IMAGENET_MEAN, std or IMAGENET_STD)

    return {key: entry(key, member) for key, member in get_model_weights(name).__members__.items()}


def _statistic(member: Any, which: str) -> tuple[float, ...]:
    values: Sequence[float] = getattr(member.transforms, "keywords", {}).get(which, ())
    return tuple(values)
