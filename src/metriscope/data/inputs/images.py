"""Decoding image files to uint8 RGB tensors."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from metriscope.errors import InputError

Size = tuple[int, int]  # height, width
_CHUNK = 64


class ImageFileError(InputError):
    """A file that cannot be read as an image.

    A DataLoader re-raises a worker's exception as ``type(error)(text of its traceback)``; only the last line
    is the message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition("ImageFileError: ")[2].strip())


class Squashed(NamedTuple):
    """A batch of images squashed into squares.

    Attributes:
        pixels: uint8 (B, 3, S, S).
        sizes: int64 (B, 2), height and width of each image before squashing.
    """

    pixels: Tensor
    sizes: Tensor


@dataclass(frozen=True)
class ResizeCrop:
    """torchvision's ``Resize`` and ``CenterCrop`` of a Pillow image, exact to the pixel: the usual evaluation.

    Attributes:
        resize: the shorter side in pixels.
        size: side of the centre crop.
    """

    resize: int
    size: int

    def __call__(self, image: Image.Image) -> Image.Image:
        short = min(image.size)
        width, height = (self.resize if side == short else int(self.resize * side / short) for side in image.size)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        top, left = round((height - self.size) / 2), round((width - self.size) / 2)
        return image.crop((left, top, left + self.size, top + self.size))


@dataclass(frozen=True)
class Square:
    """The whole image squashed into a square, from which a random crop in the original aspect can be made later."""

    size: int

    def __call__(self, image: Image.Image) -> Image.Image:
        return image.resize((self.size, self.size), Image.Resampling.BILINEAR)


Transform = ResizeCrop | Square


def decode(path: str, size: Size | None = None, transform: Transform | None = None) -> tuple[Tensor, Size]:
    """Reads one image of any mode as uint8 (H, W, 3), with its height and width before the transform.

    Args:
        path: the file.
        size: (H, W) of the result of scaling the shorter side and cropping the centre; None keeps the image's
            size.
        transform: applied afterwards.

    Raises:
        InputError: the file is missing, truncated or no image; the message names the file.
    """
    if size is None and transform is None and path.lower().endswith((".jpg", ".jpeg")):
        try:
            pixels = _decode_jpeg(path)
            return pixels, (pixels.shape[0], pixels.shape[1])
        except RuntimeError:
            pass  # Pillow reads more formats, and its errors say what is wrong
    try:
        with Image.open(path) as image:
            seen = size or (image.height, image.width)
            # JPEG can be decoded at a fraction of its size; twice the target size keeps the quality
            if size is not None:
                image.draft(None, (2 * size[1], 2 * size[0]))
            elif isinstance(transform, Square):
                image.draft(None, (2 * transform.size, 2 * transform.size))
            rgb = _rgb(image)
            if size is not None and rgb.size != size[::-1]:
                rgb = ImageOps.fit(rgb, size[::-1], Image.Resampling.BILINEAR)
            if transform is not None:
                rgb = transform(rgb)
            return torch.from_numpy(np.array(rgb)), seen
    except Exception as error:  # Pillow raises almost any exception type for a broken file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageFileError(f"cannot read the image {path}: {reason}") from error


def common_size(paths: Sequence[str]) -> Size:
    """The common (H, W) of all images, read from their headers; InputError names two images that differ."""
    first = _header_size(paths[0])

    def check(start: int) -> None:
        for path in paths[start : start + _CHUNK]:
            if (size := _header_size(path)) != first:
                raise _sizes_differ(paths[0], first, path, size)

    _in_threads(check, range(0, len(paths), _CHUNK))
    return first


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Images that are read from disk batch by batch.

    Attributes:
        paths: one file per example.
        size: (H, W) to which every image is scaled and cropped; None keeps the images' sizes.
        transform: applied to every image afterwards.
    """

    paths: tuple[str, ...]
    size: Size | None = None
    transform: Transform | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image, (3, H, W); of the first image if images keep their sizes."""
        if self.transform is not None:
            return 3, self.transform.size, self.transform.size
        return (3, *(self.size or _header_size(self.paths[0])))

    def take(self, indices: Iterable[int] | Tensor) -> "ImageFiles":
        indices = indices.tolist() if isinstance(indices, Tensor) else indices
        return replace(self, paths=tuple(self.paths[i] for i in indices))

    def fetch(self, indices: Sequence[int] | Tensor) -> Tensor | Squashed:
        """Decodes the chosen files to uint8 (B, 3, H, W), with their original sizes if they were squashed."""
        indices = indices.tolist() if isinstance(indices, Tensor) else indices
        images = [decode(self.paths[i], self.size, self.transform) for i in indices]
        if not images:
            return torch.empty(0, *self.shape, dtype=torch.uint8)
        pixels = self._stack([self.paths[i] for i in indices], [pixels for pixels, _ in images])
        return self.batch(pixels.permute(0, 3, 1, 2), torch.tensor([size for _, size in images]))

    def batch(self, pixels: Tensor, sizes: Tensor) -> Tensor | Squashed:
        """The result of :meth:`fetch` for images that are already decoded."""
        return Squashed(pixels, sizes) if isinstance(self.transform, Square) else pixels

    def decode_all(self, put: Callable[[int, Tensor, list[Size]], None]) -> None:
        """Decodes every file once, with a thread per core, and passes segments of the images to ``put``.

        Args:
            put: function of the position of the first image, the images, uint8 (n, H, W, 3), and their n sizes;
                called from several threads, in any order.

        Raises:
            InputError: a file cannot be read, or the images differ in size but must not.
        """

        def work(start: int) -> None:
            stretch = self.paths[start : start + _CHUNK]
            images = [decode(path, self.size, self.transform) for path in stretch]
            put(start, self._stack(stretch, [pixels for pixels, _ in images]), [size for _, size in images])

        _in_threads(work, range(0, len(self), _CHUNK))

    def _stack(self, paths: Sequence[str], images: Sequence[Tensor]) -> Tensor:
        _, height, width = self.shape
        for path, pixels in zip(paths, images, strict=True):
            if pixels.shape[:2] != (height, width):
                raise _sizes_differ(self.paths[0], (height, width), path, tuple(pixels.shape[:2]))
        return torch.stack(list(images))


def _decode_jpeg(path: str) -> Tensor:
    from torchvision import io  # seconds to import, three times Pillow's speed on small images

    image: Tensor = io.decode_jpeg(io.read_file(path), mode=io.ImageReadMode.RGB)
    return image.permute(1, 2, 0)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits per pixel: Pillow would clip the values at 255 instead of scaling them
        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image.convert("RGB")


def _header_size(path: str) -> Size:
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except Exception as error:
        raise ImageFileError(f"cannot read the image {path}: {' '.join(str(error).split())}") from error


def _sizes_differ(path: str, size: Size, other: str, other_size: tuple[int, ...]) -> InputError:
    return InputError(
        f"images differ in size: {path} is {size[1]}x{size[0]}, {other} is {other_size[1]}x{other_size[0]}; "
        "set dataset.image_size=<pixels> to bring them to one size, or augmentation=dml_224"
    )


def _in_threads(work: Callable[[int], None], starts: Iterable[int]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(work, starts):
            pass
