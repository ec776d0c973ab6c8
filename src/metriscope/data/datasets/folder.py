"""Images in one folder per class."""

import warnings
from pathlib import Path

from metriscope.data.examples import Source
from metriscope.data.files.listing import ImageList, Listing, class_folders, natural, passed_over, source
from metriscope.data.inputs.decoding import ENDINGS
from metriscope.errors import InputError

_TEST_SHARE = 0.2


def load(path: str | None, image_size: int | None = None) -> Source:
    """Image files ``<path>/<class>/*`` or ``<path>/{train,test}/<class>/*``.

    Without train and test folders a closed-set test takes a fixed stratified fifth. Classes and files are in
    natural order (``class 2`` before ``class 10``).

    Args:
        path: the folder.
        image_size: side in pixels to which images are scaled and cropped; None keeps their sizes.

    Raises:
        InputError: the folder does not exist, or holds no images.
    """
    if path is None:
        raise InputError("dataset=folder needs a folder with one directory per class: set dataset.path=<folder>")
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"dataset.path={path} is no folder: it must hold one directory per class")
    if (root / "train").is_dir() and (root / "test").is_dir():
        listing = Listing(_list(root / "train"), _list(root / "test"))
        others = natural(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] not in "._")
        if unused := [name for name in others if name not in ("train", "test")]:
            warnings.warn(
                f"{root}: the folders beside train and test are not used: {', '.join(unused)}"
                " (dataset.validation holds a share of train out)",
                stacklevel=2,
            )
    else:
        listing = Listing(_list(root), test_share=_TEST_SHARE)
    return source(listing, image_size)


def _list(root: Path) -> ImageList:
    folders, empty = class_folders(root)
    passed = passed_over(root)
    if not folders:
        raise InputError(
            f"no images in {root}: expected <class>/<file> or {{train,test}}/<class>/<file> ending in "
            + " ".join(ENDINGS)
            + (f"; {passed}" if passed else "")
        )
    if passed:
        warnings.warn(f"{root}: {passed}", stacklevel=2)
    if empty:
        warnings.warn(f"{root}: skipped folders without images: {', '.join(empty)}", stacklevel=2)
    return ImageList.of_folders(folders)
