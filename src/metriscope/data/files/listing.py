"""Lists of image files with their classes, before any image is read."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from metriscope.data.examples import Examples, Source
from metriscope.data.inputs.decoding import ENDINGS
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
    """

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]

    @classmethod
    def of_folders(cls, folders: Mapping[str, Sequence[str]]) -> "ImageList":
        """The list of the files of each class, by class name."""
        labels = (label for label, files in enumerate(folders.values()) for _ in files)
        return cls(tuple(file for files in folders.values() for file in files), tuple(labels), tuple(folders))

    def __len__(self) -> int:
        return len(self.paths)

    def kept(self, keep: Sequence[bool]) -> "ImageList":
        """The images marked True, with all classes."""
        chosen = [(path, label) for path, label, kept in zip(self.paths, self.labels, keep, strict=True) if kept]
        return ImageList(tuple(path for path, _ in chosen), tuple(label for _, label in chosen), self.classes)


@dataclass(frozen=True)
class Listing:
    """A data set as it is distributed: a :class:`Source` with file paths in place of images.

    Attributes:
        train: the train half, or all images.
        test: the test half; None if the data set is published as one.
        queries: for each test image True for a query, False for the gallery; None if all images are both.
        test_share: see :class:`Source`.
    """

    train: ImageList
    test: ImageList | None = None
    queries: tuple[bool, ...] | None = None
    test_share: float | None = None

    @property
    def lists(self) -> list[ImageList]:
        return [self.train] if self.test is None else [self.train, self.test]


def source(listing: Listing, image_size: int | None = None) -> Source:
    """A listing as a :class:`Source` of image files, without decoding any.

    Args:
        listing: lists of the files.
        image_size: side in pixels to which images are scaled and cropped; None keeps their sizes.

    Raises:
        InputError: a size below 1.
    """
    if image_size is not None and image_size < 1:
        raise InputError(f"dataset.image_size={image_size}: give a number of pixels, or null for the images' own size")
    size = None if image_size is None else (image_size, image_size)
    parts = [
        Examples(ImageFiles(part.paths, size), torch.tensor(part.labels, dtype=torch.int64), part.classes)
        for part in listing.lists
    ]
    queries = None if listing.queries is None else torch.tensor(listing.queries, dtype=torch.bool)
    return Source(parts[0], parts[1] if len(parts) == 2 else None, queries, listing.test_share)


def class_folders(root: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Images by class of ``<root>/<class>/*``, and the names of the folders without images.

    Classes and files are in natural order; hidden ones are skipped.
    """
    names = natural(entry.name for entry in os.scandir(root) if entry.is_dir() and _shown(entry.name))
    folders = {name: images_in(root / name) for name in names}
    return {name: files for name, files in folders.items() if files}, [name for name in names if not folders[name]]


def passed_over(root: Path) -> str | None:
    """How many files of ``<root>/<class>/`` are not used, and why; None where all are. Hidden ones do not count."""
    found: Counter[str] = Counter()
    for entry in os.scandir(root):
        if not _shown(entry.name):
            continue
        if entry.is_dir():
            _count_passed_over(entry.path, found)
        elif entry.name.lower().endswith(ENDINGS):
            found["images outside of the class folders"] += 1
    words = ", ".join(f"{count} {what}" for what, count in found.most_common())
    return f"{sum(found.values())} files are not used: {words}" if found else None


def _count_passed_over(folder: str, found: Counter[str]) -> None:
    for entry in os.scandir(folder):
        name = entry.name.lower()
        if not _shown(name):
            continue
        if entry.is_dir():
            below = sum(f.lower().endswith(ENDINGS) for *_, files in os.walk(entry.path) for f in files if _shown(f))
            found["images in subfolders of a class"] += below
        elif not name.endswith(ENDINGS):
            found[f"ending in {os.path.splitext(name)[1] or 'nothing'}"] += 1
        elif not entry.is_file():
            found["links to nothing"] += 1
    found += Counter()  # drops zeros


def images_in(folder: Path) -> list[str]:
    """Paths of the images directly in a folder, in natural order."""
    names = [
        file.name
        for file in os.scandir(folder)
        if _shown(file.name) and file.name.lower().endswith(ENDINGS) and file.is_file()
    ]
    return [os.path.join(folder, name) for name in natural(names)]


def natural(names: Iterable[str]) -> list[str]:
    """Names sorted with runs of digits compared as numbers; ties are sorted as plain text."""
    return sorted(names, key=lambda name: ([(int(n or 0), t) for n, t in _PIECES.findall(name)], name))


def _shown(name: str) -> bool:
    return not name.startswith((".", "__"))
