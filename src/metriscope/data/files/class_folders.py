"""Folders of images, one for each class."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from metriscope.data.files.listing import natural
from metriscope.data.inputs.decoding import ENDINGS


def class_folders(root: Path, nested: bool = False) -> tuple[dict[str, list[str]], list[str]]:
    """Images by class of ``<root>/<class>/*``, and the names of the folders without images.

    Classes and files are in natural order; hidden ones are skipped.

    Args:
        root: holds the folders.
        nested: take every folder that holds images, at any depth, for a class, named by its path, such as
            ``Kind/Type``.
    """
    if not nested:
        folders = {name: images_in(root / name) for name in folders_in(root)}
        return {name: files for name, files in folders.items() if files}, [
            name for name in folders if not folders[name]
        ]
    places = [Path(folder) for folder, _ in walk(root)][1:]
    found = {place.relative_to(root).as_posix(): images_in(place) for place in places}
    folders = {name: found[name] for name in natural(found) if found[name]}
    above = {parent.as_posix() for name in folders for parent in Path(name).parents}
    return folders, natural(name for name in found if name not in folders and name not in above)


def passed_over(root: Path, nested: bool = False) -> str | None:
    """How many files below ``root`` are not used, and why; None where all are. Hidden ones do not count.

    Arguments are those of :func:`class_folders`.
    """
    found: Counter[str] = Counter()
    for folder, files in walk(root, strict=False):
        depth = len(Path(folder).relative_to(root).parts)
        images = [name for name in files if name.lower().endswith(ENDINGS)]
        if depth == 0:
            found["images outside of the class folders"] += len(images)
        elif depth > 1 and not nested:
            found["images in subfolders of a class"] += len(images)
        else:
            found["links to nothing"] += len(images) - len(images_in(Path(folder)))
            found.update(f"ending in {_ending(name)}" for name in files if not name.lower().endswith(ENDINGS))
    found += Counter()  # drops zeros
    words = ", ".join(f"{count} {what}" for what, count in found.most_common())
    deeper = "images in subfolders of a class" in found
    advice = " (dataset.nested=true takes every folder with images for a class)" if deeper else ""
    return f"{sum(found.values())} files are not used: {words}{advice}" if found else None


def folders_in(root: Path) -> list[str]:
    """Names of the folders directly in a folder, in natural order."""
    return natural(entry.name for entry in os.scandir(root) if entry.is_dir() and _shown(entry.name))


def images_in(folder: Path) -> list[str]:
    """Paths of the images directly in a folder, in natural order."""
    names = [
        file.name
        for file in os.scandir(folder)
        if _shown(file.name) and file.name.lower().endswith(ENDINGS) and file.is_file()
    ]
    return [os.path.join(folder, name) for name in natural(names)]


def walk(root: Path, strict: bool = True) -> Iterator[tuple[str, list[str]]]:
    """A folder and all below it, each with the names of its files; links are followed, each folder is visited once.

    Hidden files and folders are skipped.

    Args:
        root: the folder.
        strict: whether a folder that cannot be read raises its OSError; it is skipped otherwise.
    """
    seen = {os.path.realpath(root)}
    for folder, below, files in os.walk(root, onerror=_raise if strict else None, followlinks=True):
        fresh = {name: os.path.realpath(os.path.join(folder, name)) for name in natural(filter(_shown, below))}
        below[:] = [name for name, place in fresh.items() if place not in seen]
        seen.update(fresh.values())
        yield folder, [name for name in files if _shown(name)]


def _raise(error: OSError) -> NoReturn:
    raise error


def _ending(name: str) -> str:
    return os.path.splitext(name.lower())[1] or "nothing"


def _shown(name: str) -> bool:
    return not name.startswith((".", "__"))
