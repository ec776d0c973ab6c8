"""Image files to uint8 RGB tensors."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from metriscope.errors import InputError

Size = tuple[int, int]  # height, width
_CHUNK = 256


class ImageFileError(InputError):
    """A file that cannot be read as an image.

    A DataLoader re-raises a worker's exception as ``type(error)(text of its traceback)``; only the line at
    its end is the message.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message.rpartition("ImageFileError: ")[2].strip())


def decode(path: str, size: Size | None = None) -> Tensor:
    """Reads one image of any mode as uint8 (3, H, W).

    Args:
        path: the file.
        size: (H, W) to bring it to, by scaling the shorter side and cropping the centre; None keeps its own
            size.

    Raises:
        InputError: the file is missing, truncated or no image; the message names it.
    """
    if size is None and path.lower().endswith((".jpg", ".jpeg")):
        try:
            return _decode_jpeg(path)
        except RuntimeError:
            pass  # Pillow reads more kinds, and says what is wrong with the rest
    try:
        with Image.open(path) as image:
            if size is not None:
                # JPEG can decode at a fraction of its size; twice the target keeps the resampling's quality
                image.draft(None, (2 * size[1], 2 * size[0]))
            rgb = _rgb(image)
            if size is not None and rgb.size != size[::-1]:
                rgb = ImageOps.fit(rgb, size[::-1], Image.Resampling.BILINEAR)
            return torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()
    except Exception as error:  # Pillow's parsers raise almost any type on a broken file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ImageFileError(f"cannot read the image {path}: {reason}") from error


def decode_all(paths: Sequence[str], size: Size | None = None) -> Tensor:
    """Reads images as one uint8 tensor (N, 3, H, W), with a thread per core.

    Raises:
        InputError: a file cannot be read, or ``size`` is None and the images differ in size.
    """
    first = decode(paths[0], size)
    images = torch.empty(len(paths), *first.shape, dtype=torch.uint8)

    def fill(start: int) -> None:
        for row in range(start, min(start + _CHUNK, len(paths))):
            image = decode(paths[row], size)
            if image.shape != first.shape:
                raise _sizes_differ(paths[0], (first.shape[1], first.shape[2]), paths[row], tuple(image.shape[1:]))
            images[row] = image

    _in_threads(fill, range(0, len(paths), _CHUNK))
    return images


def common_size(paths: Sequence[str]) -> Size:
    """The one (H, W) of all images, read from their headers; InputError names two that differ."""
    first = _header_size(paths[0])

    def check(start: int) -> None:
        for path in paths[start : start + _CHUNK]:
            if (size := _header_size(path)) != first:
                raise _sizes_differ(paths[0], first, path, size)

    _in_threads(check, range(0, len(paths), _CHUNK))
    return first


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Images that stay on disk until a batch asks for them.

    Attributes:
        paths: one file per example.
        size: (H, W) to which every image is brought.
    """

    paths: tuple[str, ...]
    size: Size

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Iterable[int]) -> "ImageFiles":
        return ImageFiles(tuple(self.paths[i] for i in indices), self.size)

    def fetch(self, indices: Iterable[int]) -> Tensor:
        """Decodes the chosen files to uint8 (B, 3, H, W)."""
        images = [decode(self.paths[i], self.size) for i in indices]
        return torch.stack(images) if images else torch.empty(0, 3, *self.size, dtype=torch.uint8)


def _decode_jpeg(path: str) -> Tensor:
    from torchvision import io  # seconds to import, three times Pillow's speed on small images

    image: Tensor = io.decode_jpeg(io.read_file(path), mode=io.ImageReadMode.RGB)
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits per pixel, which Pillow would clip at 255 instead of scaling
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
        "set dataset.image_size=<pixels> to bring them to one size"
    )


def _in_threads(work: Callable[[int], None], starts: Iterable[int]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(work, starts):
            pass
