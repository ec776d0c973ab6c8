"""In-Shop Clothes Retrieval of DeepFashion: 52,712 photographs of 7,982 articles (Liu et al., CVPR 2016)."""

import os
from pathlib import Path

from metriscope.data.examples import Source
from metriscope.data.files.completeness import GALLERY, QUERIES, TEST_SHARE, TRAIN, complete
from metriscope.data.files.listing import ImageList, Listing, source
from metriscope.data.files.tables import rows
from metriscope.errors import InputError

NAME = "In-Shop Clothes Retrieval"
PUBLISHED = {"images": 52712, "classes": 7982, TRAIN: 25882, QUERIES: 14218, GALLERY: 12612}
_FOLDERS = ("inshop", "In-shop Clothes Retrieval Benchmark")
_LIST = "list_eval_partition.txt"
_REMEDY = (
    "it cannot be downloaded without its authors' password (ask at mmlab.ie.cuhk.edu.hk/projects/DeepFashion): unpack "
    "img.zip there; paths.data_dir=<folder> names another place"
)


def load(
    data_dir: str,
    image_size: int | None = 224,
    download: bool = False,
    verify: bool = True,
) -> Source:
    """Images uint8 (N, 3, H, W); the test half consists of queries and gallery, in the order of the list.

    Args:
        data_dir: holds ``inshop/`` with ``img/`` and ``list_eval_partition.txt``, or the folders as
            published (``Img/img/`` and ``Eval/``).
        image_size: see :func:`metriscope.data.files.listing.source`.
        download: raises InputError that says where to request the data, which may not be redistributed.
        verify: refuse counts other than the published ones; False uses the images that exist.

    Raises:
        InputError: the data are missing, incomplete or broken.
    """
    return source(find(data_dir, download, verify), image_size)


def find(data_dir: str | Path, download: bool = False, verify: bool = True) -> Listing:
    """The image files of the data set; same arguments and errors as :func:`load`."""
    for root in (*(Path(data_dir) / folder for folder in _FOLDERS), Path(data_dir)):
        tables = [folder / _LIST for folder in (root, root / "Eval") if (folder / _LIST).exists()]
        images = [folder for folder in (root, root / "Img") if (folder / "img").is_dir()]
        if tables and images:
            return _list(tables[0], images[0], verify)
        if tables or images:
            gap = "img" if tables else _LIST
            raise InputError(f"{NAME} is not complete: {gap} missing in {root}; {_REMEDY}")
    raise InputError(f"{NAME} is not complete: {_LIST} and img missing in {Path(data_dir) / _FOLDERS[0]}; {_REMEDY}")


def _list(table: Path, root: Path, verify: bool) -> Listing:
    halves: dict[str, tuple[list[str], list[int], dict[str, int]]] = {half: ([], [], {}) for half in ("train", "test")}
    queries = []
    for line, (path, article, status) in rows(table, "path", "item id", "train, query or gallery", header=2):
        if status not in ("train", "query", "gallery"):
            raise InputError(f"{table} line {line}: the status is {status!r}, not train, query or gallery")
        paths, labels, ids = halves["train" if status == "train" else "test"]
        paths.append(os.path.join(root, path))
        labels.append(ids.setdefault(article, len(ids)))
        if status != "train":
            queries.append(status == "query")
    train, test = (ImageList(tuple(paths), tuple(labels), tuple(ids)) for paths, labels, ids in halves.values())
    return complete(NAME, root, Listing(train, test, tuple(queries), TEST_SHARE), PUBLISHED, verify)
