"""Augmentation of whole batches of images, on the device of the batch."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from metriscope.data.inputs.decoding import ResizeCrop, Square
from metriscope.data.inputs.images import Squashed
from metriscope.data.inputs.resample import resize_center_crop, resized_crops
from metriscope.errors import InputError
from metriscope.parts import ArgumentError, PartType

_ATTEMPTS = 10  # as torchvision's RandomResizedCrop


def _ordered(bounds: Sequence[float], highest: float) -> Sequence[float]:
    if len(bounds) != 2 or not 0 < bounds[0] <= bounds[1] <= highest:
        raise ValueError
    return bounds


Size = Annotated[int, Field(ge=1)]
Shares = Annotated[
    Sequence[float],
    AfterValidator(partial(_ordered, highest=1)),
    Field(description="two numbers, 0 < lowest <= highest <= 1"),
]
Ratios = Annotated[
    Sequence[float],
    AfterValidator(partial(_ordered, highest=math.inf)),
    Field(description="two numbers, 0 < lowest <= highest"),
]


class Planned(NamedTuple):
    """Images with the crop and flip planned for each.

    Attributes:
        images: uint8 (B, C, H, W).
        boxes: int64 (B, 4), top, left, height and width of a crop in pixels of ``images``.
        mirrored: bool (B,), True for images to flip left to right.
    """

    images: Tensor
    boxes: Tensor
    mirrored: Tensor


class Augmentation(nn.Module, metaclass=PartType):
    """Random crop and flip per image, then float32 in [0, 1] and normalisation per channel.

    The augmentation of an image is a function of ``width`` numbers from [0, 1). :meth:`plan` turns them into a
    crop and a flip on the CPU, so that all devices get the same ones; calling the module applies these on the
    device of the batch. Vectors pass through unchanged.

    An augmentation of one's own is a subclass. It takes ``mean`` and ``std`` beside the arguments of its config, sets
    ``width`` to the numbers that it needs for each example, and overrides :meth:`plan`, for training alone, or
    :meth:`forward`, for all that the network sees.

    Args:
        crop: ``none``; ``pad``, a crop to the original size after padding; or ``random_resized``, a crop of
            random area and aspect ratio that is scaled to ``size``.
        pad: zero pixels added on each side by ``pad``.
        flip: mirror each image left to right with probability 1/2.
        size: side of the images from ``random_resized``.
        resize: without augmentation, ``random_resized`` scales the shorter side to this many pixels and crops the
            centre to ``size``; None for 8/7 of ``size``, the usual 256 for 224.
        stored_size: side of the squares in which images from files are stored for ``random_resized``; None for
            ``resize``.
        scale, ratio: lowest and highest share of the area, and width over height, of a random resized crop.
        views: number of fixed augmentations of every image, used in turn from epoch to epoch; None draws anew in
            every step.
        mean, std: per channel on the [0, 1] scale, or one value for all channels; None for no normalisation.

    Raises:
        InputError: a value is out of range, views are set without random augmentation, or lists differ in length.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        crop: Literal["none", "pad", "random_resized"] = "none",
        *,
        pad: Annotated[int, Field(ge=0)] = 0,
        flip: bool = False,
        size: Size = 224,
        resize: Size | None = None,
        stored_size: Size | None = None,
        scale: Shares = (0.08, 1.0),
        ratio: Ratios = (3 / 4, 4 / 3),
        views: Size | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        resize = round(size * 8 / 7) if resize is None else resize
        stored_size = resize if stored_size is None else stored_size
        mean, std = list(mean or [0.0]), list(std or [1.0])
        if min(std) <= 0:
            raise InputError(f"dataset.std={std}: every value must be above 0")
        if len(mean) != len(std) and 1 not in (len(mean), len(std)):
            raise InputError(f"dataset.mean has {len(mean)} values and dataset.std {len(std)}: give one per channel")
        self.crop = crop
        self.pad = pad
        self.flip = flip
        self.size = size
        self.resize = resize
        self.stored_size = stored_size
        self.scale = scale
        self.ratio = ratio
        self.views = views
        self.width = _width(crop, pad, flip)
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        size, resize, views = (arguments.get(key) for key in ("size", "resize", "views"))
        if size is not None and resize is not None and resize < size:
            raise ArgumentError("resize", resize, f"the centre crop needs at least size={size}")
        drawn = _width(arguments.get("crop", "none"), arguments.get("pad", 0), arguments.get("flip", False))
        if views is not None and not drawn:
            raise ArgumentError("views", views, "it has to be null, as nothing here is random (or set flip=true)")

    @property
    def stored(self) -> tuple[Square | None, ResizeCrop | None]:
        """Transforms of image files when they are read: for training, and for evaluation."""
        if self.crop != "random_resized":
            return None, None
        return Square(self.stored_size), ResizeCrop(self.resize, self.size)

    def facts(self, augmented: bool) -> dict[str, Any]:
        """Plain values that determine the result, with or without augmentation."""
        facts: dict[str, Any] = {"mean": self.mean.flatten().tolist(), "std": self.std.flatten().tolist()}
        if self.crop == "random_resized":
            facts |= {"size": self.size, "resize": self.resize}
        if augmented:
            facts |= {"crop": self.crop, "pad": self.pad, "flip": self.flip, "stored_size": self.stored_size}
            facts |= {"scale": list(self.scale), "ratio": list(self.ratio)}
        return facts | self._of_its_own()

    @property
    def is_own(self) -> bool:
        """Whether it does not ship with Metriscope."""
        return not type(self).__module__.startswith("metriscope.")

    def _of_its_own(self) -> dict[str, Any]:
        """The class of another augmentation, and the plain values that only it has."""
        if type(self) is Augmentation:
            return {}
        shared = {*vars(Augmentation()), "training"}
        values = {key: value for key, value in vars(self).items() if key not in shared and not key.startswith("_")}
        plain = {key: value for key, value in values.items() if isinstance(value, bool | int | float | str | list)}
        return {"class": f"{type(self).__module__}.{type(self).__qualname__}", "own": plain}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the network's input for examples of this shape."""
        return (shape[0], self.size, self.size) if self.crop == "random_resized" and len(shape) == 3 else shape

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Raises InputError if mean and std do not fit examples of this shape."""
        values = max(self.mean.numel(), self.std.numel())
        if len(shape) == 3 and values not in (1, shape[0]):
            raise InputError(
                f"dataset.mean and dataset.std have {values} values, but images have {shape[0]} channels: "
                "give one per channel, or one for all"
            )

    def varies(self, shape: tuple[int, ...] | None = None) -> bool:
        """Whether two augmentations of one example differ; the shape of examples is None where it is not known yet.

        Vectors are augmented by a subclass alone.
        """
        return bool(self.width) and (self.is_own or shape is None or len(shape) == 3)

    def plan(self, inputs: Tensor | Squashed, numbers: Tensor) -> Tensor | Planned:
        """The batch with crops and flips from ``numbers``, (B, width) on the CPU."""
        images, sizes = inputs if isinstance(inputs, Squashed) else (inputs, None)
        if images.is_floating_point() or not self.width:
            return images
        B, _, H, W = images.shape
        boxes = torch.tensor([0, 0, H, W]).repeat(B, 1)
        if self.crop == "random_resized":
            sizes = boxes[:, 2:] if sizes is None else sizes
            boxes = _to_pixels(_random_boxes(sizes, numbers, self.scale, self.ratio), sizes, (H, W))
        elif self.crop == "pad" and self.pad:
            boxes[:, :2] = (numbers[:, :2] * (2 * self.pad + 1)).long() - self.pad
        mirrored = numbers[:, -1] < 0.5 if self.flip else torch.zeros(B, dtype=torch.bool)
        return Planned(images, boxes, mirrored)

    def forward(self, inputs: Tensor | Planned, *, stored: bool = False) -> Tensor:
        """Float32 (B, C, H, W) of uint8 images, augmented if they are :class:`Planned`.

        Args:
            stored: whether images without a plan were read with the evaluation transform of :attr:`stored`.
        """
        if isinstance(inputs, Planned):
            images = self._augment(inputs)
        elif inputs.is_floating_point():
            return inputs
        elif self.crop == "random_resized" and not stored:
            images = resize_center_crop(inputs, self.resize, self.size)
        else:
            images = inputs
        return self._normalise(images)

    @property
    def affine(self) -> tuple[Tensor, Tensor]:
        """Factor and shift that normalise pixels from 0 to 255, per channel: (1, C, 1, 1), or C = 1 for all."""
        return 1 / (255 * self.std), -self.mean / self.std

    def _normalise(self, images: Tensor) -> Tensor:
        C, W = images.shape[1], images.shape[3]
        # A whole row of factors, since broadcasting channels of channels-last images is slower than all else here.
        factor, shift = (
            values.expand(1, C, 1, W).contiguous(memory_format=torch.channels_last) for values in self.affine
        )
        pixels = images.float()
        return torch.addcmul(shift, pixels, factor, out=pixels)

    def _augment(self, planned: Planned) -> Tensor:
        images, boxes, mirrored = planned
        if self.crop == "random_resized":
            return resized_crops(images, boxes, mirrored, self.size)
        B, C, H, W = images.shape
        columns = torch.arange(W, device=images.device).expand(B, W)
        columns = torch.where(mirrored[:, None], columns.flip(1), columns) + boxes[:, 1:2] + self.pad
        rows = torch.arange(H, device=images.device) + boxes[:, :1] + self.pad
        padded = F.pad(images, (self.pad,) * 4) if self.pad else images
        pixel = (rows[:, :, None] * padded.shape[3] + columns[:, None, :]).view(B, 1, H * W)
        return padded.flatten(2).gather(2, pixel.expand(B, C, H * W)).view(B, C, H, W)


def _width(crop: str, pad: int, flip: bool) -> int:
    """How many numbers the augmentation of an image takes."""
    return {"none": 0, "pad": 2 if pad else 0, "random_resized": 2 * _ATTEMPTS + 2}[crop] + flip


def _random_boxes(sizes: Tensor, numbers: Tensor, scale: Sequence[float], ratio: Sequence[float]) -> Tensor:
    """Crops as torchvision's RandomResizedCrop draws them, int64 (B, 4), within images of (B, 2) height and width.

    The first of ten draws that fits; if none fits, the largest centre crop within the bounds of the ratio.
    """
    H, W = sizes.double().unbind(1)
    numbers = numbers.double()
    areas, ratios, place = numbers[:, :_ATTEMPTS], numbers[:, _ATTEMPTS : 2 * _ATTEMPTS], numbers[:, 2 * _ATTEMPTS :]
    area = (scale[0] + (scale[1] - scale[0]) * areas) * (H * W)[:, None]
    aspect = torch.exp(math.log(ratio[0]) + math.log(ratio[1] / ratio[0]) * ratios)
    height, width = (area / aspect).sqrt().round(), (area * aspect).sqrt().round()
    fits = (height > 0) & (height <= H[:, None]) & (width > 0) & (width <= W[:, None])
    first = fits.byte().argmax(dim=1, keepdim=True)
    found = fits.any(dim=1)
    height = torch.where(found, height.gather(1, first)[:, 0], torch.minimum(H, (W / ratio[0]).round()))
    width = torch.where(found, width.gather(1, first)[:, 0], torch.minimum(W, (H * ratio[1]).round()))
    top = torch.where(found, (place[:, 0] * (H - height + 1)), (H - height) / 2).floor()
    left = torch.where(found, (place[:, 1] * (W - width + 1)), (W - width) / 2).floor()
    return torch.stack([top, left, height, width], dim=1).long()


def _to_pixels(boxes: Tensor, sizes: Tensor, stored: tuple[int, int]) -> Tensor:
    """Crops of images of (B, 2) height and width, in whole pixels of their ``stored`` height and width."""
    scale = torch.tensor(stored) / sizes.double()
    start = (boxes[:, :2] * scale).round()
    end = ((boxes[:, :2] + boxes[:, 2:]) * scale).round()
    start = torch.minimum(start, torch.tensor(stored) - 1)
    return torch.cat([start, (end - start).clamp_min(1)], dim=1).long()
