"""Tiny ImageNet: 100,000 + 10,000 photographs of 64 x 64 pixels in 200 classes (Stanford CS231n)."""

import os
from functools import partial
from pathlib import Path

from metriscope.data.examples import Source
from metriscope.data.files.archives import Archive, find_published
from metriscope.data.files.class_folders import images_in
from metriscope.data.files.completeness import TEST, TRAIN, complete
from metriscope.data.files.listing import ImageList, Listing, source
from metriscope.data.files.tables import lookup, rows

NAME = "Tiny ImageNet"
ARCHIVE = Archive(
    "tiny-imagenet-200.zip",
    "90528d7ca1a48142e341f4ef8d21d0de",
    "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
)
PUBLISHED = {"images": 110000, "classes": 200, TRAIN: 100000, TEST: 10000}
_FOLDER = "tiny-imagenet-200"
_FILES = ("wnids.txt", "train", "val/val_annotations.txt")


def load(
    data_dir: str,
    image_size: int | None = 224,
    download: bool = False,
    verify: bool = True,
) -> Source:
    """Images uint8 (N, 3, H, W), classes in the order of ``wnids.txt``.

    The validation images are the test half, since images of ``test/`` have no published labels.

    Args:
        data_dir: holds ``tiny-imagenet-200/``, or the archive.
        image_size: see :func:`metriscope.data.files.listing.source`.
        download: fetch the archive if there is neither.
        verify: refuse counts other than the published ones; False uses the images that exist.

    Raises:
        InputError: the data are missing, incomplete or broken.
    """
    return source(find(data_dir, download, verify), image_size)


def find(data_dir: str | Path, download: bool = False, verify: bool = True) -> Listing:
    """The image files of the data set; same arguments and errors as :func:`load`."""
    return find_published(NAME, ARCHIVE, _FOLDER, _FILES, data_dir, download, partial(_list, verify=verify))


def _list(root: Path, verify: bool) -> Listing:
    classes = tuple(wnid for _, (wnid,) in rows(root / "wnids.txt", "wnid"))
    train = ImageList.of_folders({wnid: _train(root / "train" / wnid) for wnid in classes})
    return complete(NAME, root, Listing(train, _validation(root, classes)), PUBLISHED, verify)


def _train(folder: Path) -> list[str]:
    boxes = folder / f"{folder.name}_boxes.txt"
    if boxes.exists():
        return [os.path.join(folder, "images", file) for _, (file, _) in rows(boxes, "file", "box")]
    return images_in(folder / "images") if (folder / "images").is_dir() else []


def _validation(root: Path, classes: tuple[str, ...]) -> ImageList:
    table = root / "val" / "val_annotations.txt"
    ids = {wnid: label for label, wnid in enumerate(classes)}
    paths, labels = [], []
    for line, (file, wnid, _) in rows(table, "file", "wnid", "box"):
        paths.append(os.path.join(root, "val", "images", file))
        labels.append(lookup(ids, wnid, "class in wnids.txt", table, line))
    return ImageList(tuple(paths), tuple(labels), classes)
