"""CUB-200-2011: 11,788 photographs of 200 species of birds (Wah et al., Caltech 2011)."""

import os
from functools import partial
from pathlib import Path

from metriscope.data.examples import Source
from metriscope.data.files.archives import Archive, find_published
from metriscope.data.files.completeness import FIRST, LAST, TEST_SHARE, complete
from metriscope.data.files.listing import ImageList, Listing, source
from metriscope.data.files.tables import lookup, rows

NAME = "CUB-200-2011"
ARCHIVE = Archive(
    "CUB_200_2011.tgz",
    "97eceeb196236b17998738112f37df78",
    "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
)
PUBLISHED = {"images": 11788, "classes": 200, FIRST: 5864, LAST: 5924}
_FOLDER = "CUB_200_2011"
_FILES = ("images.txt", "image_class_labels.txt", "classes.txt", "images")


def load(
    data_dir: str,
    image_size: int | None = 224,
    download: bool = False,
    verify: bool = True,
) -> Source:
    """Images uint8 (N, 3, H, W) in the order of ``images.txt``, classes in that of ``classes.txt``.

    The archive's ``train_test_split.txt`` divides images, not classes, and is not used: all images are one half.

    Args:
        data_dir: holds ``CUB_200_2011/``, or the archive.
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
    files = {image: path for _, (image, path) in rows(root / "images.txt", "image id", "path")}
    classes = [row for _, row in rows(root / "classes.txt", "class id", "name")]
    ids = {label: position for position, (label, _) in enumerate(classes)}
    table = root / "image_class_labels.txt"
    paths, labels = [], []
    for line, (image, label) in rows(table, "image id", "class id"):
        paths.append(os.path.join(root, "images", lookup(files, image, "image", table, line)))
        labels.append(lookup(ids, label, "class", table, line))
    images = ImageList(tuple(paths), tuple(labels), tuple(name for _, name in classes))
    return complete(NAME, root, Listing(images, test_share=TEST_SHARE), PUBLISHED, verify)
