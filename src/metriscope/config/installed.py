"""Folders of choices that installed packages bring, by their entry points of ``metriscope.configs``."""

import importlib.util
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

GROUP = "metriscope.configs"
"""The group of entry points; each names a folder of choices as a dotted path, such as ``my_package.configs``."""


class Installed(NamedTuple):
    """What the installed packages bring."""

    folders: tuple[Path, ...]
    broken: tuple[str, ...]
    """One sentence for every entry point whose folder is not there."""


def installed() -> Installed:
    """The folders of all installed packages, in the order of their names. Imports no package."""
    return _on(tuple(sys.path))


def folder_in_package(dotted: str) -> Path | None:
    """The folder that a dotted path names, without importing it; None where there is none.

    Args:
        dotted: a package, and folders below it, which need no ``__init__.py``.
    """
    package, *below = dotted.split(".")
    return next((folder for place in _places(package) if (folder := place.joinpath(*below)).is_dir()), None)


def _places(package: str) -> list[Path]:
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    return [Path(place) for place in spec.submodule_search_locations or ()] if spec else []


@cache
def _on(path: tuple[str, ...]) -> Installed:
    folders, broken = [], []
    found = metadata.entry_points(group=GROUP)
    points = {(point.dist.name if point.dist else point.name, point.name, point.value) for point in found}
    for owner, name, dotted in sorted(points):
        folder = folder_in_package(dotted)
        if folder is not None:
            folders.append(folder)
            continue
        package, _, below = dotted.partition(".")
        lacks = f"{package} has no folder {below}" if _places(package) else f"there is no package {package}"
        broken.append(f"the package {owner} adds no choices: {lacks} (entry point {GROUP}: {name} = {dotted})")
    return Installed(tuple(folders), tuple(broken))
