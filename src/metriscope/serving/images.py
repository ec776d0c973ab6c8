"""The images that a caller gives, in one form: a list of items with their paths and the names of their folders."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from metriscope.data.files.class_folders import walk
from metriscope.data.files.listing import natural
from metriscope.data.inputs.decoding import ENDINGS
from metriscope.errors import InputError
from metriscope.serving.preparation import Item

Images = Item | Iterable[Item]


class Listed(NamedTuple):
    """Items to embed.

    Attributes:
        items: paths, PIL images, arrays or tensors, one each.
        paths: as given, or below the folder that was given; None where not every item is a path.
        labels: names of the folders of images below the folder that was given; None where there are none.
        root: the folder that the paths are below; empty where they are as given.
    """

    items: Sequence[Item]
    paths: list[str] | None = None
    labels: list[str] | None = None
    root: str = ""


def listed(images: Images, axes: int) -> Listed:
    """The items of what a caller gave.

    Args:
        images: a folder, whose images are taken at every depth in natural order; the path of an image; a PIL image; an
            array or tensor of one or many examples; or a sequence of any of these but folders.
        axes: of one example as the model reads it: 3 of an image, 1 of a vector.

    Raises:
        InputError: there is nothing, or no image in the folder.
    """
    if isinstance(images, str | Path):
        return _of_path(Path(images))
    if isinstance(images, Image.Image):
        return Listed([images])
    if isinstance(images, np.ndarray | Tensor):
        return Listed(_of_array(images, axes))
    if not isinstance(images, Iterable):
        raise InputError(f"images have to be paths, PIL images, arrays or tensors, not {type(images).__name__}")
    items = list(images)
    if not items:
        raise InputError("there is no image to embed: the list is empty")
    for item in items:
        if not isinstance(item, str | Path | Image.Image | np.ndarray | Tensor):
            raise InputError(f"images have to be paths, PIL images, arrays or tensors, not {type(item).__name__}")
    files = [os.fspath(item) for item in items if isinstance(item, str | Path)]
    return Listed(items, files if len(files) == len(items) else None)


def listed_paths(paths: Sequence[Path]) -> Listed:
    """The images of one folder or file, or of several: their paths then begin with the folder that they are in.

    Raises:
        InputError: there is nothing, or no image in a folder.
    """
    found = [_of_path(path) for path in paths]
    if len(found) == 1:
        return found[0]
    items = [item for one in found for item in one.items]
    labels = [label for one in found for label in one.labels or [""] * len(one.items)]
    return Listed(items, [str(item) for item in items], labels if any(labels) else None)


def _of_path(path: Path) -> Listed:
    if path.is_dir():
        return _of_folder(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    return Listed([path], [str(path)])


def _of_folder(root: Path) -> Listed:
    found: list[tuple[str, str]] = []
    try:
        for folder, files in walk(root):
            label = os.path.relpath(folder, root)
            names = natural(name for name in files if name.lower().endswith(ENDINGS))
            found += [("" if label == "." else label, name) for name in names]
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error
    if not found:
        raise InputError(f"{root} holds no image: files ending in {' '.join(ENDINGS)} are looked for, at every depth")
    paths = [os.path.join(label, name) for label, name in found]
    labels = [label for label, _ in found]
    return Listed([root / path for path in paths], paths, labels if any(labels) else None, str(root))


def _of_array(array: Any, axes: int) -> list[Item]:
    """One example, which may lack the axis of channels, or a batch of them along the first axis."""
    grey = axes == 3 and isinstance(array, np.ndarray) and array.ndim == 2
    if array.ndim == axes or grey:
        return [array]
    if array.ndim == axes + 1:
        return list(array)
    raise InputError(f"an array of the shape {tuple(array.shape)} is neither one example nor a batch of them")
