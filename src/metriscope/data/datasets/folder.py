"""Images in one folder per class."""

import os
import re
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch

from metriscope.data.examples import Examples, Source
from metriscope.data.images import ImageFiles, Size
from metriscope.data.splits import stratified
from metriscope.errors import InputError

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".ppm", ".pgm")
_TEST_SHARE = 0.2
_PIECES = re.compile(r"([0-9]*)([^0-9]*)")


def load(path: str | None, image_size: int | None = None) -> Source:
    """Image files ``<path>/<class>/*`` or ``<path>/{train,test}/<class>/*``.

    Without train and test folders a fixed stratified fifth is the test half. Classes and files are in natural
    order (``class 2`` before ``class 10``).

    Args:
        path: the folder.
        image_size: side in pixels to scale and crop to; None keeps the images' own sizes.

    Raises:
        InputError: no such folder, or no images.
    """
    if path is None:
        raise InputError("dataset=folder needs a folder with one directory per class: set dataset.path=<folder>")
    if image_size is not None and image_size < 1:
        raise InputError(f"dataset.image_size={image_size}: give a number of pixels, or null for the images' own size")
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"dataset.path={path} is no folder: it must hold one directory per class")
    if (root / "train").is_dir() and (root / "test").is_dir():
        listings = [_list(root / "train"), _list(root / "test")]
    else:
        listings = [_list(root)]
    size = None if image_size is None else (image_size, image_size)
    examples = [_examples(listing, size) for listing in listings]
    if len(examples) == 2:
        return Source(*examples)
    train, test = stratified(examples[0].labels, _TEST_SHARE)
    return Source(train=examples[0].take(train), test=examples[0].take(test))


def _examples(listing: dict[str, list[str]], size: Size | None) -> Examples:
    counts = torch.tensor([len(files) for files in listing.values()])
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    paths = tuple(file for files in listing.values() for file in files)
    return Examples(ImageFiles(paths, size), labels, tuple(listing))


def _list(root: Path) -> dict[str, list[str]]:
    listing: dict[str, list[str]] = {}
    empty = []
    for name in _sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and _shown(entry.name)):
        files = [
            file.name
            for file in os.scandir(root / name)
            if _shown(file.name) and file.name.lower().endswith(_ENDINGS) and file.is_file()
        ]
        if files:
            listing[name] = [os.path.join(root, name, file) for file in _sorted(files)]
        else:
            empty.append(name)
    if not listing:
        raise InputError(
            f"no images in {root}: expected <class>/<file> or {{train,test}}/<class>/<file> ending in "
            + " ".join(_ENDINGS)
        )
    if empty:
        warnings.warn(f"{root}: skipped folders without images: {', '.join(empty)}", stacklevel=2)
    return listing


def _shown(name: str) -> bool:
    return not name.startswith((".", "__"))


def _sorted(names: Iterable[str]) -> list[str]:
    """Runs of digits compare as numbers; the plain name decides between names that are then equal."""
    return sorted(names, key=lambda name: ([(int(n or 0), t) for n, t in _PIECES.findall(name)], name))
