"""Image files that are read batch by batch, as uint8 RGB tensors."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.data.inputs.boxes import Box, Item
from metriscope.data.inputs.caches import digest_of_files
from metriscope.data.inputs.decoding import LIMIT_MB, Size, Square, Transform, decode, header_size
from metriscope.errors import InputError

_CHUNK = 64


class Squashed(NamedTuple):
    """A batch of images squashed into squares.

    Attributes:
        pixels: uint8 (B, 3, S, S).
        sizes: int64 (B, 2), height and width of each image before squashing.
    """

    pixels: Tensor
    sizes: Tensor


def common_size(items: Sequence[Item], exif: bool = False) -> Size:
    """The common (H, W) of all images, read from their headers; InputError names two images that differ."""
    first = header_size(*items[0], exif)

    def check(start: int) -> None:
        for item in items[start : start + _CHUNK]:
            if (size := header_size(*item, exif)) != first:
                raise _sizes_differ(items[0].path, first, item.path, size)

    _in_threads(check, range(0, len(items), _CHUNK))
    return first


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Images that are read from disk batch by batch.

    Attributes:
        paths: one file per example.
        size: (H, W) to which every image is scaled and cropped; None keeps the images' sizes.
        transform: applied to every image afterwards.
        limit_mb: MiB of memory that one decoded image may take.
        exif: whether images are turned upright, as their EXIF blocks say.
        boxes: for each example the part of the upright image that is read, None for the whole; None for all: no
            example has a box.
    """

    paths: tuple[str, ...]
    size: Size | None = None
    transform: Transform | None = None
    limit_mb: float = LIMIT_MB
    exif: bool = False
    boxes: tuple[Box | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image, (3, H, W); of the first image if images keep their sizes."""
        if self.transform is not None:
            return 3, self.transform.size, self.transform.size
        return (3, *(self.size or header_size(*self.items[0], self.exif)))

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """What each example is read from."""
        return tuple(map(Item, self.paths, self.boxes or (None,) * len(self)))

    def holding(self, items: Iterable[Item]) -> "ImageFiles":
        """Other examples, read in the same way."""
        items = tuple(items)
        boxes = tuple(item.box for item in items)
        return replace(self, paths=tuple(item.path for item in items), boxes=boxes if any(boxes) else None)

    def digest(self) -> str:
        """A hash of the files and boxes, without how they are read."""
        return digest_of_files(self.paths, self.boxes)

    def take(self, indices: Iterable[int] | Tensor) -> "ImageFiles":
        indices = indices.tolist() if isinstance(indices, Tensor) else indices
        return self.holding(self.items[i] for i in indices)

    def fetch(self, indices: Sequence[int] | Tensor) -> Tensor | Squashed:
        """Decodes the chosen files to uint8 (B, 3, H, W), with their original sizes if they were squashed."""
        indices = indices.tolist() if isinstance(indices, Tensor) else indices
        images = [self._read(self.items[i]) for i in indices]
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
            stretch = self.items[start : start + _CHUNK]
            images = [self._read(item) for item in stretch]
            put(
                start,
                self._stack([item.path for item in stretch], [pixels for pixels, _ in images]),
                [size for _, size in images],
            )

        _in_threads(work, range(0, len(self), _CHUNK))

    def _read(self, item: Item) -> tuple[Tensor, Size]:
        return decode(item.path, self.size, self.transform, self.limit_mb, item.box, self.exif)

    def _stack(self, paths: Sequence[str], images: Sequence[Tensor]) -> Tensor:
        _, height, width = self.shape
        for path, pixels in zip(paths, images, strict=True):
            if pixels.shape[:2] != (height, width):
                raise _sizes_differ(self.paths[0], (height, width), path, tuple(pixels.shape[:2]))
        return torch.stack(list(images))


def _sizes_differ(path: str, size: Size, other: str, other_size: tuple[int, ...]) -> InputError:
    return InputError(
        f"images differ in size: {path} is {size[1]}x{size[0]}, {other} is {other_size[1]}x{other_size[0]}; "
        "set dataset.image_size=<pixels> to bring them to one size, or augmentation=dml_224"
    )


def _in_threads(work: Callable[[int], None], starts: Iterable[int]) -> None:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(work, starts):
            pass
