"""Lists of image files with their classes, before any image is read."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import torch

from metriscope.data.examples import Examples, Source
from metriscope.data.inputs.boxes import Box
from metriscope.data.inputs.images import ImageFiles
from metriscope.errors import InputError

_PIECES = re.compile(r"([0-9]*)([^0-9]*)")


@dataclass(frozen=True)
class ImageList:
    """Image files with one label each.

    Attributes:
        paths: the files.
        labels: positions in ``classes``.
        classes: class names; the class-disjoint protocol halves them in this order.
        boxes: for each file the part of the upright image that is meant, None for the whole; None where no file has
            a box.
        superclasses: the coarse class of each class; None where classes have none.
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    boxes: tuple[Box | None, ...] | None = None
    superclasses: tuple[str, ...] | None = None

    @classmethod
    def of_folders(cls, folders: Mapping[str, Sequence[str]]) -> "ImageList":
        """The list of the files of each class, by class name."""
        labels = (label for label, files in enumerate(folders.values()) for _ in files)
        return cls(tuple(file for files in folders.values() for file in files), tuple(labels), tuple(folders))

    def __len__(self) -> int:
        return len(self.paths)

    def kept(self, keep: Sequence[bool]) -> "ImageList":
        """The images marked True, with all classes."""
        paths = tuple(compress(self.paths, keep))
        boxes = None if self.boxes is None else tuple(compress(self.boxes, keep))
        return replace(self, paths=paths, labels=tuple(compress(self.labels, keep)), boxes=boxes)


@dataclass(frozen=True)
class Listing:
    """A data set as it is distributed: a :class:`Source` with file paths in place of images.

    Attributes:
        train: the train half, or all images.
        test: the test half; None if the data set is published as one.
        queries: for each test image True for a query, False for the gallery; None if all images are both.
        test_share, validation, incomplete: see :class:`Source`.
    """

    train: ImageList
    test: ImageList | None = None
    queries: tuple[bool, ...] | None = None
    test_share: float | None = None
    validation: ImageList | None = None
    incomplete: str | None = None

    @property
    def parts(self) -> dict[str, ImageList]:
        """The lists that there are, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


def source(listing: Listing, image_size: int | None = None, exif: bool = False) -> Source:
    """A listing as a :class:`Source` of image files, without decoding any.

    Args:
        listing: lists of the files.
        image_size: side in pixels to which images are scaled and cropped; None keeps their sizes.
        exif: whether images are turned upright, as their EXIF blocks say.

    Raises:
        InputError: a size below 1.
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"dataset.image_size={image_size}: give a number of pixels, or null for the images' own size")
    size = None if image_size is None else (image_size, image_size)
    parts = {
        name: Examples(
            ImageFiles(part.paths, size, exif=exif, boxes=part.boxes),
            torch.tensor(part.labels, dtype=torch.int64),
            part.classes,
            part.superclasses,
        )
        for name, part in listing.parts.items()
    }
    queries = None if listing.queries is None else torch.tensor(listing.queries, dtype=torch.bool)
    return Source(**parts, queries=queries, test_share=listing.test_share, incomplete=listing.incomplete)


def natural(names: Iterable[str]) -> list[str]:
    """Names sorted with runs of digits compared as numbers; ties are sorted as plain text."""
    return sorted(names, key=lambda name: ([(int(n or 0), t) for n, t in _PIECES.findall(name)], name))
