"""Images in one folder per class."""

import logging
import os
import warnings
from pathlib import Path

from metriscope.data.examples import Source
from metriscope.data.files.class_folders import class_folders, folders_in, images_in, passed_over
from metriscope.data.files.listing import source
from metriscope.data.files.own_parts import NAMES, TRAIN, Entry, check_parts, listing_of
from metriscope.data.inputs.decoding import ENDINGS
from metriscope.errors import InputError

log = logging.getLogger(__name__)


def load(
    path: str | None,
    image_size: int | None = None,
    nested: bool | None = None,
    exif: bool = True,
    superclasses: bool | None = None,
) -> Source:
    """Image files ``<path>/<class>/*`` or ``<path>/<part>/<class>/*``.

    Parts are ``train`` and, if wanted, ``val`` (or ``valid``, ``validation``), and either ``test`` or ``query`` and
    ``gallery``. Without a test part a closed-set test takes a fixed stratified fifth. Classes and files are in natural
    order (``class 2`` before ``class 10``).

    Args:
        path: the folder.
        image_size: side in pixels to which images are scaled and cropped; None keeps their sizes.
        nested: whether every folder that holds images, at any depth, is a class, named by its path, such as
            ``Kind/Type``. None: where no folder directly below holds images, but deeper ones do.
        exif: whether images are turned upright, as their EXIF blocks say.
        superclasses: whether the folder in which that of a class lies is its superclass, as ``Kind`` is of
            ``Kind/Type``.

    Raises:
        InputError: the folder does not exist, holds no images, or parts that do not go together.
    """
    if path is None:
        raise InputError("dataset=folder needs a folder with one directory per class: set dataset.path=<folder>")
    root = Path(path)
    if not root.is_dir():
        raise InputError(f"dataset.path={path} is no folder: it must hold one directory per class")
    names = _parts(root)
    roots = {name: root / name for name in names} if names else {TRAIN: root}
    if nested is None:
        nested = _lie_deeper(list(roots.values()))
        if nested:
            log.info("%s: images lie in deeper folders, each of which is a class (dataset.nested=true)", root)
    entries = [entry for name, place in roots.items() for entry in _entries(place, name, nested)]
    if superclasses:
        entries = [_below_superclass(entry) for entry in entries]
    return source(listing_of(entries, str(root)), image_size, exif)


def _below_superclass(entry: Entry) -> Entry:
    above = os.path.dirname(entry.label)
    if not above:
        raise InputError(
            f"dataset.superclasses=true: the folder of class {entry.label!r} lies in no folder of a superclass; name "
            "folders <superclass>/<class>/, all of them (dataset.nested=true)"
        )
    return entry._replace(superclass=above)


def _parts(root: Path) -> list[str]:
    """Names of the folders that are parts; none where the folders are classes."""
    folders = folders_in(root)
    names = [name for name in NAMES if name in folders]
    # One of these names alone, or with images directly in it, may be that of a class.
    alone = set(names) == set(folders) and not any(images_in(root / name) for name in names)
    if not names or not (alone or (TRAIN in names and len(names) > 1)):
        return []
    check_parts(names, str(root))
    if unused := [name for name in folders if name not in names]:
        beside = f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
        warnings.warn(f"{root}: the folders beside {beside} are not used: {', '.join(unused)}", stacklevel=3)
    return names


def _lie_deeper(roots: list[Path]) -> bool:
    """Whether no folder directly below these holds images, but a deeper one does."""
    if any(images_in(root / name) for root in roots for name in folders_in(root)):
        return False
    return any(class_folders(root, nested=True)[0] for root in roots)


def _entries(root: Path, part: str, nested: bool) -> list[Entry]:
    folders, empty = class_folders(root, nested)
    passed = passed_over(root, nested)
    if not folders:
        raise InputError(
            f"no images in {root}: expected <class>/<file> or {{train,test}}/<class>/<file> ending in "
            + " ".join(ENDINGS)
            + (f"; {passed}" if passed else "")
        )
    if passed:
        warnings.warn(f"{root}: {passed}", stacklevel=3)
    if empty:
        warnings.warn(f"{root}: skipped folders without images: {', '.join(empty)}", stacklevel=3)
    return [Entry(os.fspath(file), name, part) for name, files in folders.items() for file in files]
