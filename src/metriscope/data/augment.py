"""Augmentation of whole batches as tensors, on the device they are on."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metriscope.errors import InputError


class Augmentation(nn.Module):
    """Random crop and flip per image, then float32 in [0, 1] and normalisation per channel.

    Vectors pass through unchanged. Random numbers are drawn on the CPU, so that every device sees the same
    crops.

    Args:
        pad: zero pixels added on each side before a random crop to the original size; 0 does not crop.
        flip: mirror each image left to right with probability 1/2.
        mean, std: per channel on the [0, 1] scale (one value serves all channels); None does not normalise.

    Raises:
        InputError: a negative ``pad``, a ``std`` that is not positive, or lists that differ in length.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        pad: int = 0,
        flip: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if pad < 0:
            raise InputError(f"augmentation.pad={pad}: the padding must be 0 or more pixels")
        mean, std = list(mean or [0.0]), list(std or [1.0])
        if min(std) <= 0:
            raise InputError(f"dataset.std={std}: every value must be above 0")
        if len(mean) != len(std) and 1 not in (len(mean), len(std)):
            raise InputError(f"dataset.mean has {len(mean)} values and dataset.std {len(std)}: give one per channel")
        self.pad = pad
        self.flip = flip
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, inputs: Tensor, source: torch.Generator | None = None) -> Tensor:
        """Uint8 (B, C, H, W) to float32 of that shape.

        Crops and flips only where ``source``, a CPU generator, is given.
        """
        if inputs.is_floating_point():
            return inputs
        if source is not None:
            inputs = self.crop_and_flip(inputs, source)
        return inputs.float().mul_(1 / (255 * self.std)).sub_(self.mean / self.std)

    def check(self, shape: tuple[int, ...]) -> None:
        """InputError where the values per channel do not fit examples of this shape."""
        values = max(self.mean.numel(), self.std.numel())
        if len(shape) == 3 and values not in (1, shape[0]):
            raise InputError(
                f"dataset.mean and dataset.std have {values} values, but images have {shape[0]} channels: "
                "give one per channel, or one for all"
            )

    def crop_and_flip(self, images: Tensor, source: torch.Generator) -> Tensor:
        B, C, H, W = images.shape
        rows = torch.arange(H).expand(B, H)
        columns = torch.arange(W).expand(B, W)
        if self.pad:
            shift = torch.randint(2 * self.pad + 1, (2, B, 1), generator=source)
            rows, columns = rows + shift[0], columns + shift[1]
            images = F.pad(images, (self.pad,) * 4)
        if self.flip:
            mirrored = torch.rand(B, 1, generator=source) < 0.5
            columns = torch.where(mirrored, columns.flip(1), columns)
        elif not self.pad:
            return images
        pixel = (rows[:, :, None] * images.shape[3] + columns[:, None, :]).view(B, 1, H * W)
        pixel = pixel.to(images.device, non_blocking=True)
        return images.flatten(2).gather(2, pixel.expand(B, C, H * W)).view(B, C, H, W)
