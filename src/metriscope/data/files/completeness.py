"""Checks that a data set on disk is complete."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import Any

from metriscope.data.files.listing import ImageList, Listing
from metriscope.errors import InputError

log = logging.getLogger(__name__)

TRAIN, TEST, QUERIES, GALLERY = "train images", "test images", "query images", "gallery images"
FIRST, LAST = "images in the first half of the classes", "images in the last half of the classes"

# Share of every class in a closed-set test of data whose usual split is by classes: about that of the published
# splits of CUB-200-2011 and CARS196 by images.
TEST_SHARE = 0.5


def find_root(name: str, data_dir: str | Path, folders: Sequence[str], files: Sequence[str], remedy: str) -> Path:
    """The first of ``<data_dir>/<folder>``, or ``data_dir`` itself, that holds all ``files``.

    Raises:
        InputError: no folder holds all files; the message names the missing files and the remedy.
    """
    places = [*(Path(data_dir) / folder for folder in folders), Path(data_dir)]
    absent = [[file for file in files if not (place / file).exists()] for place in places]
    for place, gaps in zip(places, absent, strict=True):
        if not gaps:
            return place
    meant = min(range(len(places)), key=lambda place: len(absent[place]))  # the place with the fewest missing files
    raise InputError(f"{name} is not complete: {', '.join(absent[meant])} missing in {places[meant]}; {remedy}")


def counts(listing: Listing) -> dict[str, int]:
    """Number of images and classes, in total and by half; halves of the classes if there is no test half."""
    present = [{part.classes[label] for label in part.labels} for part in listing.parts.values()]
    found = {"images": sum(map(len, listing.parts.values())), "classes": len(set().union(*present))}
    train, test = listing.train, listing.test
    if test is None:
        half = (len(train.classes) + 1) // 2
        first = sum(label < half for label in train.labels)
        return found | {FIRST: first, LAST: len(train) - first}
    found |= {TRAIN: len(train), TEST: len(test)}
    if listing.queries is not None:
        found |= {QUERIES: sum(listing.queries), GALLERY: len(test) - sum(listing.queries)}
    return found


def complete(
    name: str, root: Path, listing: Listing, published: Mapping[str, int], verify: bool, layout: str | None = None
) -> Listing:
    """The listing, if every file exists and the counts are the published ones.

    Args:
        name: name of the data set, for messages.
        root: folder of the data set.
        listing: images according to the data set's own lists.
        published: published values of some of :func:`counts`.
        verify: False warns, keeps the images that exist, and notes in the listing what is missing.
        layout: which of its layouts the data set has, for messages.

    Raises:
        InputError: an image is missing (the message names it), there are too many, or none is left.
    """
    present = {part: _present(images) for part, images in listing.parts.items()}
    absent = [path for part, images in listing.parts.items() for path in _unkept(images, present[part])]
    faults, such = [], ""
    if absent:
        total = sum(map(len, listing.parts.values()))
        faults.append(f"{len(absent)} of {total} listed images are missing")
        such = f", such as {os.path.relpath(absent[0], root)}"
        listing = _kept(listing, present)
    found = counts(listing)
    counted = [f"{found[what]} {what} instead of {n}" for what, n in published.items() if found[what] != n]
    faults += counted
    if not faults:
        return listing
    where = f"{name} ({layout})" if layout else name
    line = f"{where} in {root} is not complete: {', '.join([faults[0] + such, *faults[1:]])}"
    if verify or not found["images"]:
        raise InputError(
            f"{line}; put it right, or move the folder away and fetch the data anew"
            + (" (dataset.verify=false goes on with what is there)" if found["images"] else "")
        )
    log.warning("%s; going on with what is there (dataset.verify=false)", line)
    return replace(listing, incomplete=f"{name} is not complete: {(counted or faults)[0]}")


def _present(images: ImageList) -> list[bool]:
    places = [os.path.split(path) for path in images.paths]
    folders = {folder for folder, _ in places}
    files = {folder: set(os.listdir(folder)) if os.path.isdir(folder) else set() for folder in folders}
    return [name in files[folder] for folder, name in places]


def _unkept(images: ImageList, kept: Sequence[bool]) -> list[str]:
    return [path for path, there in zip(images.paths, kept, strict=True) if not there]


def _kept(listing: Listing, present: Mapping[str, Sequence[bool]]) -> Listing:
    kept: dict[str, Any] = {name: part.kept(present[name]) for name, part in listing.parts.items()}
    if listing.queries is not None:
        kept["queries"] = tuple(compress(listing.queries, present["test"]))
    return replace(listing, **kept)
