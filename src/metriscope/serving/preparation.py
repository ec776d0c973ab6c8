"""From an image of any kind to the uint8 pixels that the network was trained on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from metriscope.config.sections import SECTIONS
from metriscope.data.inputs.augment import Augmentation
from metriscope.data.inputs.decoding import decode, fitted, pixels_of
from metriscope.data.inputs.resample import resize_center_crop
from metriscope.errors import InputError
from metriscope.parts import instantiate
from metriscope.serving.description import Description

Item = str | Path | Image.Image | np.ndarray[Any, Any] | Tensor


class Preparation:
    """Brings images to the form that a network was trained on: decoded, upright, scaled, cropped, normalised.

    Args:
        described: of the model.

    Raises:
        InputError: the section ``augmentation`` is not valid.
    """

    def __init__(self, described: Description) -> None:
        self.described = described
        own: Mapping[str, Any] = SECTIONS["augmentation"].arguments(described.augmentation)
        mean, std = described.mean, described.std
        self.augmentation: Augmentation = instantiate(own, "augmentation", mean=mean, std=std)
        self.shape = tuple(described.shape)
        self.of_images = len(self.shape) == 3
        self.input_shape = self.augmentation.output_shape(self.shape)
        """Shape of one input of the network."""

    def side(self, name: str | None) -> int | None:
        """The number of a side of a model of pairs, by its name; None for a model of one modality.

        Raises:
            InputError: no side is named where there are two, or one that there is not.
        """
        sides = self.described.sides
        if sides is None:
            if name is not None:
                raise InputError(f"side={name}: the model reads one modality; leave it out")
            return None
        if name is None or name not in sides:
            raise InputError(
                f"the model reads pairs of vectors of two modalities and embeds one at a time: from Python, "
                f"model.embed(vectors, side={sides[0]!r}) or side={sides[1]!r}"
            )
        return list(sides).index(name)

    def pixels(self, item: Item, side: int | None = None) -> Tensor:
        """One example as the data set would store it: uint8 (C, H, W), or float32 (F,) of vectors.

        Args:
            item: a path, a PIL image, an array (H, W) or (H, W, C) of a PIL mode, or a tensor (C, H, W) of uint8; for
                a model of vectors an array or tensor (F,), and for one of other than 1 or 3 channels a tensor of uint8
                of the very shape.
            side: which modality of pairs it is of, 0 or 1.

        Raises:
            InputError: the file cannot be read, or the item does not fit the model.
        """
        if not self.of_images:
            return self._vector(item, self.shape if side is None else self.shape[side : side + 1])
        if self.shape[0] not in (1, 3):
            return self._stack(item)
        if isinstance(item, Tensor):
            item = self._as_array(item)
        if isinstance(item, np.ndarray):
            item = _as_image(item)
        found = self._rgb(item)
        if self.shape[0] == 1:
            return torch.from_numpy(np.array(Image.fromarray(found.numpy()).convert("L")))[None]
        return found.permute(2, 0, 1)

    def sized(self, pixels: Tensor) -> Tensor:
        """Images (B, C, H, W) as :meth:`pixels` gives them, uint8, of the size that the network reads."""
        augmentation = self.augmentation
        if self.described.files or augmentation.output_shape(self.shape) == self.shape:
            return pixels
        return resize_center_crop(pixels, augmentation.resize, augmentation.size)

    def batch(self, items: Sequence[Tensor], device: torch.device) -> Tensor:
        """Inputs (B, *input_shape) of the network, from what :meth:`pixels` gave."""
        if self.of_images:
            # As they were decoded, channels last: to turn each of them would take longer than all else here.
            stacked = torch.stack([item.movedim(0, -1) for item in items]).movedim(-1, 1)
        else:
            stacked = torch.stack(list(items))
        prepared: Tensor = self.augmentation.to(device)(stacked.to(device), stored=self.described.files)
        return prepared

    def _rgb(self, item: str | Path | Image.Image) -> Tensor:
        """uint8 (H, W, 3), of the size that the data set stores."""
        described = self.described
        transform = self.augmentation.stored[1] if described.files else None
        size = (described.image_size,) * 2 if described.files and described.image_size else None
        limit = described.image_limit_mb
        if isinstance(item, Image.Image):
            found = pixels_of(item, size, transform, limit, exif=described.exif)
        else:
            found = decode(str(item), size, transform, limit, exif=described.exif)[0]
        if transform is None and size is None and tuple(found.shape[:2]) != self.shape[1:]:
            return fitted(found, (self.shape[1], self.shape[2]))
        return found

    def _as_array(self, item: Tensor) -> np.ndarray[Any, Any]:
        if item.dtype != torch.uint8 or item.ndim != 3 or item.shape[0] not in (1, 3):
            raise InputError(
                f"an image tensor has to be uint8 (C, H, W) with 1 or 3 channels, not {item.dtype} {tuple(item.shape)}"
            )
        return item.permute(1, 2, 0).cpu().numpy()

    def _stack(self, item: Item) -> Tensor:
        if isinstance(item, Tensor) and item.dtype == torch.uint8 and tuple(item.shape) == self.shape:
            return item.cpu()
        raise InputError(f"the model reads images of {self.shape[0]} channels: give tensors of uint8 {self.shape}")

    def _vector(self, item: Item, shape: tuple[int, ...]) -> Tensor:
        if isinstance(item, str | Path | Image.Image):
            raise InputError(f"the model reads vectors of {shape[0]} numbers, and no images")
        vector = torch.as_tensor(item)
        if tuple(vector.shape) != shape:
            raise InputError(f"the model reads vectors of the shape {shape}, not {tuple(vector.shape)}")
        vector = vector.float()
        if not vector.isfinite().all():
            raise InputError("a vector holds NaN or Inf: leave it out, or mend it")
        return vector


def _as_image(item: np.ndarray[Any, Any]) -> Image.Image:
    array = item[..., 0] if item.ndim == 3 and item.shape[2] == 1 else item
    try:
        return Image.fromarray(np.ascontiguousarray(array))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"an image array has to be uint8 (H, W) or (H, W, C) with 1, 3 or 4 channels, not {item.dtype} {item.shape}"
        ) from error
