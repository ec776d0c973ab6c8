"""Distractors: images that the gallery of every query holds as well, and that match none."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from metriscope.data.files.class_folders import images_in, walk
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.splits import Splits
from metriscope.errors import InputError

_PIECE = 2**20  # bytes that are read at a time


def load_distractors(folder: str, splits: Splits) -> ImageFiles:
    """The images of a folder and of all below it, to be read as those of the test part are.

    Files of the size of a query's are compared with it byte by byte, by digest; no image is decoded.

    Raises:
        InputError: the test part is not of image files, there is no such folder or no image in it, or one of them is a
            query.
    """
    where = f"evaluation.distractors={folder}"
    test = splits.test.inputs
    if not isinstance(test, ImageFiles):
        raise InputError(f"{where}: only data sets of image files take distractors: set it to null")
    if not Path(folder).is_dir():
        raise InputError(f"{where} is no folder: it must hold images")
    paths = [path for place, _ in walk(Path(folder)) for path in images_in(Path(place))]
    if not paths:
        raise InputError(f"{where} holds no images")
    asking = range(len(test)) if splits.queries is None else splits.queries.nonzero().squeeze(1).tolist()
    found = _common(paths, dict.fromkeys(test.paths[i] for i in asking))
    if found:
        path, query = found[0]
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise InputError(f"{where}: {path} is the test query {query}{more}: take it out")
    return replace(test, paths=tuple(paths), boxes=None)


def _common(paths: Iterable[str], queries: Iterable[str]) -> list[tuple[str, str]]:
    """Each path whose file has the bytes of a query's, and the query."""
    by_size: defaultdict[int, list[str]] = defaultdict(list)
    for query in queries:
        if os.path.isfile(query):
            by_size[os.path.getsize(query)].append(query)
    digests: dict[int, dict[bytes, str]] = {}
    found = []
    for path in paths:
        size = os.path.getsize(path)
        if size not in by_size:
            continue
        if size not in digests:
            digests[size] = {_digest(query): query for query in by_size[size]}
        if same := digests[size].get(_digest(path)):
            found.append((path, same))
    return found


def _digest(path: str) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.digest()
