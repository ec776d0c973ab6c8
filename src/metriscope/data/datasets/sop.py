"""Stanford Online Products: 120,053 photographs of 22,634 articles (Song et al., arXiv:1511.06452)."""

import os
from functools import partial
from pathlib import Path

from metriscope.data.examples import Source
from metriscope.data.files.archives import Archive, find_published
from metriscope.data.files.completeness import TEST, TEST_SHARE, TRAIN, complete
from metriscope.data.files.listing import ImageList, Listing, source
from metriscope.data.files.tables import rows

NAME = "Stanford Online Products"
ARCHIVE = Archive(
    "Stanford_Online_Products.zip",
    "7f73d41a2f44250d4779881525aea32e",
    "http://ftp.cs.stanford.edu/cs/cvgl/Stanford_Online_Products.zip",
)
PUBLISHED = {"images": 120053, "classes": 22634, TRAIN: 59551, TEST: 60502}
_FOLDER = "Stanford_Online_Products"
_FILES = ("Ebay_train.txt", "Ebay_test.txt")


def load(
    data_dir: str,
    image_size: int | None = 224,
    download: bool = False,
    verify: bool = True,
) -> Source:
    """Images uint8 (N, 3, H, W); the halves of ``Ebay_train.txt`` and ``Ebay_test.txt`` share no class.

    Args:
        data_dir: holds ``Stanford_Online_Products/``, or the archive.
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
    halves = Listing(_half(root, "Ebay_train.txt"), _half(root, "Ebay_test.txt"), test_share=TEST_SHARE)
    return complete(NAME, root, halves, PUBLISHED, verify)


def _half(root: Path, file: str) -> ImageList:
    table = rows(root / file, "image id", "class id", "super class id", "path", header=1)
    ids: dict[str, int] = {}
    labels = tuple(ids.setdefault(label, len(ids)) for _, (_, label, _, _) in table)
    return ImageList(tuple(os.path.join(root, path) for _, (*_, path) in table), labels, tuple(ids))
