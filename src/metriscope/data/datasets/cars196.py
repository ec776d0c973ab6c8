"""CARS196: 16,185 photographs of 196 models of cars (Krause et al., 3dRR 2013), in each of its common layouts."""

import csv
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from metriscope.data.examples import Source
from metriscope.data.files.archives import Archive, obtain
from metriscope.data.files.class_folders import class_folders
from metriscope.data.files.completeness import FIRST, LAST, TEST_SHARE, complete
from metriscope.data.files.listing import ImageList, Listing, source
from metriscope.data.files.matlab import annotations, class_names
from metriscope.data.files.tables import text_of
from metriscope.errors import InputError

log = logging.getLogger(__name__)

Layout = Callable[[Path], tuple[str, ImageList] | None]

NAME = "CARS196"
PUBLISHED = {"images": 16185, "classes": 196, FIRST: 8054, LAST: 8131}
# Folder -> its archives. The data set was published in these two forms; one of them is enough.
ARCHIVES = {
    "cars196": [
        Archive("car_ims.tgz", "d5c8f0aa497503f355e17dc7886c3f14"),
        Archive("cars_annos.mat", "b407c6086d669747186bd1d764ff9dbc"),
    ],
    "stanford_cars": [
        Archive("cars_train.tgz", "065e5b463ae28d29e77c1b4b166cfe61"),
        Archive("cars_test.tgz", "4ce7ebf6a94d07f1952d94dd34c4d501"),
        Archive("car_devkit.tgz", "c3b158d763b6e2245038c8ad08e45376"),
        Archive("cars_test_annos_withlabels.mat", "b0a2b23655a3edd16d84508592a98d10"),
    ],
}
_FOLDERS = (*ARCHIVES, "CARS196", "Cars196", "cars", "car_data", "stanford-car-dataset-by-classes-folder")
_LABELS = "cars_test_annos_withlabels.mat"
_CLASSES = ("cars_annos.mat", "devkit/cars_meta.mat", "cars_meta.mat", "names.csv")
# Required files and folders of each layout with annotations.
_PARTS = (
    ("car_ims", "cars_annos.mat"),
    ("cars_train", "cars_test", "devkit/cars_train_annos.mat", "devkit/cars_meta.mat", _LABELS),
)


def load(
    data_dir: str,
    image_size: int | None = 224,
    download: bool = False,
    verify: bool = True,
) -> Source:
    """Images uint8 (N, 3, H, W), classes in the order of their published ids.

    The published train and test folders divide images, not classes, and are pooled. Known layouts, in
    ``<data_dir>/cars196/`` or another usual name: ``car_ims/`` with ``cars_annos.mat``; ``cars_train/``,
    ``cars_test/`` and ``devkit/`` with ``cars_test_annos_withlabels.mat``; Kaggle's
    ``car_data/car_data/{train,test}/<class>/`` with ``names.csv``; ``images/<class>/``, preferably with one
    of the files that give the order of the classes. The log names the layout found.

    Args:
        data_dir: holds one of these layouts, or the archives.
        image_size: see :func:`metriscope.data.files.listing.source`.
        download: check and unpack the archives in ``data_dir``; nothing is fetched, since their host is gone.
        verify: refuse counts other than the published ones; False uses the images that exist, also where one of
            ``cars_train/`` and ``cars_test/`` is absent.

    Raises:
        InputError: the data are missing, incomplete or broken.
    """
    return source(find(data_dir, download, verify), image_size)


def find(data_dir: str | Path, download: bool = False, verify: bool = True) -> Listing:
    """The image files of the data set; same arguments and errors as :func:`load`."""
    places = [*(Path(data_dir) / folder for folder in _FOLDERS), Path(data_dir)]
    found = _search(places)
    if found is None and download:
        _unpack(Path(data_dir), verify)
        found = _search(places)
    if found is None:
        half = _search(places, (_one_half,))
        if half is None or verify:
            goes_on = " (dataset.verify=false goes on with the half that is there)" if half else ""
            raise InputError(f"{NAME} is not complete: {_gap(places)}; {_remedy(Path(data_dir))}{goes_on}")
        found = half
    log.info("%s: found %s in %s", NAME, found[1], found[0])
    return _listing(*found, verify)


def _search(places: list[Path], layouts: Sequence[Layout] = ()) -> tuple[Path, str, ImageList] | None:
    """The first folder with one of the layouts (by default of the whole data), its name, and the images."""
    for place in places:
        for recognise in layouts or (_car_ims, _devkit, _kaggle, _images):
            if (found := recognise(place)) is not None:
                return place, *found
    return None


def _listing(root: Path, layout: str, images: ImageList, verify: bool) -> Listing:
    return complete(NAME, root, Listing(images, test_share=TEST_SHARE), PUBLISHED, verify, layout)


def _unpack(data_dir: Path, verify: bool) -> None:
    def check(unpacked: Path) -> None:
        found = _search([unpacked])
        if found is None:
            raise InputError(f"{NAME} is not complete: {_gap([unpacked])}")
        _listing(*found, verify)

    for name, archives in ARCHIVES.items():
        if any((data_dir / archive.file).exists() for archive in archives):
            return obtain(NAME, archives, data_dir / name, check)
    raise InputError(f"{NAME} can no longer be downloaded; {_remedy(data_dir)}")


def _gap(places: list[Path]) -> str:
    """The missing files and folders of the most complete layout."""
    gaps = []
    for place in places:
        for parts in _PARTS:
            absent = [part for part in parts if not (place / part).exists()]
            gaps.append((len(absent) / len(parts), place, absent))
    _, place, absent = min(gaps, key=lambda gap: gap[0])
    return f"{', '.join(absent)} missing in {place}"


def _remedy(data_dir: Path) -> str:
    kinds = " or ".join(", ".join(archive.file for archive in archives) for archives in ARCHIVES.values())
    return f"its host is gone: put {kinds} into {data_dir}, then dataset.download=true checks and unpacks them"


def _car_ims(root: Path) -> tuple[str, ImageList] | None:
    file = root / "cars_annos.mat"
    if not file.exists() or not (root / "car_ims").is_dir():
        return None
    records = [(os.path.join(root, path), label) for path, label in annotations(file, "relative_im_path", "class")]
    return "car_ims/ with cars_annos.mat", _by_id(file, records, class_names(file))


def _devkit(root: Path) -> tuple[str, ImageList] | None:
    halves, meta = _annotated_halves(root), root / "devkit" / "cars_meta.mat"
    if len(halves) < 2 or not meta.exists():
        return None
    return "cars_train/ and cars_test/ with devkit/", _of_halves(root, halves, meta)


def _one_half(root: Path) -> tuple[str, ImageList] | None:
    """Half of the layout of :func:`_devkit`: the other is there without labels, or not at all."""
    halves, meta = _annotated_halves(root), root / "devkit" / "cars_meta.mat"
    halves = {half: file for half, file in halves.items() if (root / half).is_dir()}
    if len(halves) != 1 or not meta.exists():
        return None
    return f"{next(iter(halves))}/ alone, with devkit/", _of_halves(root, halves, meta)


def _annotated_halves(root: Path) -> dict[str, Path]:
    """The halves that have labels, and the files of these."""
    files = {"cars_train": [root / "devkit" / "cars_train_annos.mat"]}
    files["cars_test"] = [place / _LABELS for place in (root, root / "devkit")]
    return {half: file for half, places in files.items() if (file := next(filter(Path.exists, places), None))}


def _of_halves(root: Path, halves: Mapping[str, Path], meta: Path) -> ImageList:
    records: list[tuple[str, int]] = []
    for half, file in halves.items():
        folder = root / half / half if (root / half / half).is_dir() else root / half
        records += [(os.path.join(folder, name), label) for name, label in annotations(file, "fname", "class")]
    return _by_id([*halves.values()][-1], records, class_names(meta))


def _kaggle(root: Path) -> tuple[str, ImageList] | None:
    places = (root / "car_data" / "car_data", root / "car_data", root)
    base = next((place for place in places if (place / "train").is_dir() and (place / "test").is_dir()), None)
    if base is None or not (root / "names.csv").exists():
        return None
    names = _names(root / "names.csv")
    layout = f"{os.path.relpath(base, root)}/{{train,test}}/<class>/ with names.csv"
    tables = {half: root / f"anno_{half}.csv" for half in ("train", "test")}
    if not all(table.exists() for table in tables.values()):
        return layout, _by_folder([base / "train", base / "test"], names)
    records = []
    for half, table in tables.items():
        for row in csv.reader(text_of(table).splitlines()):
            if row:
                label = int(row[-1]) if row[-1].strip().isdigit() else 0
                folder = _as_folder(names[label - 1]) if 0 < label <= len(names) else ""
                records.append((os.path.join(base, half, folder, row[0]), label))
    return layout, _by_id(tables["test"], records, names)


def _images(root: Path) -> tuple[str, ImageList] | None:
    if not (root / "images").is_dir():
        return None
    source = next((file for file in _CLASSES if (root / file).exists()), None)
    if source is None and root.name not in _FOLDERS:
        return None  # nothing shows that these images are cars
    if source is None:
        note = f"images/<class>/ without {' or '.join(_CLASSES)}, so that classes are in the order of folder names"
        return note, _by_folder([root / "images"], None)
    file = root / source
    names = _names(file) if file.suffix == ".csv" else class_names(file)
    return f"images/<class>/ with {source}", _by_folder([root / "images"], names)


def _by_id(file: Path, records: list[tuple[str, int]], names: list[str]) -> ImageList:
    if wrong := [label for _, label in records if not 0 < label <= len(names)]:
        raise InputError(f"{file}: class {wrong[0]} is not in 1..{len(names)}, of which there are names")
    return ImageList(tuple(path for path, _ in records), tuple(int(label) - 1 for _, label in records), tuple(names))


def _by_folder(roots: list[Path], names: list[str] | None) -> ImageList:
    """Images of ``<root>/<class>/``; a '/' in a class name is a '-' in its folder name."""
    pooled: dict[str, list[str]] = {_as_folder(name): [] for name in names or ()}
    for root in roots:
        folders, empty = class_folders(root)
        for folder, files in folders.items():
            if names and folder not in pooled:
                raise InputError(f"{root / folder} is no class that the list of class names knows")
            pooled.setdefault(folder, []).extend(files)
        if empty:
            log.warning("%s: folders without images: %s", root, ", ".join(empty))
    return ImageList.of_folders(pooled)


def _as_folder(name: str) -> str:
    return name.replace("/", "-")


def _names(file: Path) -> list[str]:
    return [line.strip().strip('"') for line in text_of(file).splitlines() if line.strip()]
