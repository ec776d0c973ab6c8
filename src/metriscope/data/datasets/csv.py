"""Images named in a CSV file with their labels."""

import csv
import io
import logging
import math
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from metriscope.data.examples import Source
from metriscope.data.files.listing import Listing, source
from metriscope.data.files.own_parts import NAMES, TRAIN, Entry, listing_of
from metriscope.data.files.tables import text_of
from metriscope.data.inputs.boxes import Box
from metriscope.errors import InputError

log = logging.getLogger(__name__)

_BOX = ("x", "y", "width", "height")


def load(
    path: str | None,
    image_size: int | None = None,
    label: str | None = None,
    box: bool | None = None,
    exif: bool = True,
    coarse_label: str | None = None,
) -> Source:
    """Images uint8 (N, 3, H, W) from a file with the columns ``path``, ``label`` and, if wanted, others.

    Paths are relative to the file; labels are any text, classes in natural order (``class 2`` before ``class 10``).
    The column ``split`` says ``train``, ``val``, ``test``, ``query`` or ``gallery``; query and gallery together are
    the test part. Without a test part a closed-set test takes a fixed stratified fifth of train. Unknown columns are
    ignored.

    Args:
        path: the CSV file, UTF-8, with a header.
        image_size: see :func:`metriscope.data.files.listing.source`.
        label: the column that holds the label; None for ``label``.
        box: whether each image is cropped to the box of the columns ``x``, ``y``, ``width``, ``height``, in pixels of
            the upright image from its upper left corner, before anything else; a line without these four values means
            the whole image. A file may be named once for each of its boxes. None: where the four columns exist.
        exif: whether images are turned upright, as their EXIF blocks say.
        coarse_label: the column that holds the coarse class in which the class of ``label`` lies, one for each class;
            None: classes have no superclasses.

    Raises:
        InputError: a file, image or column is missing, or a line is invalid; the message gives the line
            number.
    """
    if path is None:
        raise InputError("dataset=csv needs a file with the columns path,label[,split]: set dataset.path=<file>")
    return source(find(Path(path), label, box, coarse_label), image_size, exif)


def find(file: Path, label: str | None = None, box: bool | None = None, coarse_label: str | None = None) -> Listing:
    """The image files of the data set; same arguments and errors as :func:`load`."""
    entries = _entries(file, label, box, coarse_label)
    if not any(entry.part == TRAIN for entry in entries):
        raise InputError(f"{file} has no line of the split 'train'")
    return listing_of(entries, str(file))


class _Places(NamedTuple):
    """Positions of columns."""

    path: int
    label: int
    split: int | None
    box: tuple[int, ...] | None
    coarse: int | None = None


def _entries(file: Path, label: str | None, box: bool | None, coarse: str | None) -> list[Entry]:
    lines = csv.reader(io.StringIO(text_of(file)))
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        places = _places(file, header, label, box, coarse)
        above: dict[str, tuple[str, int]] = {}
        table: dict[tuple[str, Box | None], Entry] = {}
        for cells in lines:
            if any(cell.strip() for cell in cells):
                where = f"{file} line {lines.line_num}"
                if len(cells) != len(header):
                    raise InputError(f"{where} has {len(cells)} columns, the header {len(header)}")
                entry = _entry(file, where, [cell.strip() for cell in cells], places, label or "label")
                if entry.superclass is not None:
                    first, line = above.setdefault(entry.label, (entry.superclass, lines.line_num))
                    if first != entry.superclass:
                        raise InputError(
                            f"{where}: class {entry.label!r} lies in {entry.superclass!r} here, and in {first!r} in "
                            f"line {line}: it has to lie in one"
                        )
                if (entry.path, entry.box) in table:
                    again = " with the same box" if entry.box else ""
                    raise InputError(f"{where} names {cells[places.path].strip()} a second time{again}")
                table[entry.path, entry.box] = entry
    except csv.Error as error:
        raise InputError(f"{file} line {lines.line_num}: {error}") from error
    if not table:
        raise InputError(f"{file} names no image: expected a header path,label[,split] and lines below it")
    return list(table.values())


def _entry(file: Path, where: str, cells: Sequence[str], places: _Places, label: str) -> Entry:
    path, name = cells[places.path], cells[places.label]
    if not path or not name:
        raise InputError(f"{where} has no {label if path else 'path'}")
    part = TRAIN if places.split is None else cells[places.split]
    if part not in NAMES:
        raise InputError(f"{where}: the split is {part!r}, it has to be train, val, test, query or gallery")
    place = os.path.join(file.parent, path)
    if not os.path.isfile(place):
        raise InputError(f"{where}: there is no file {path} (paths are relative to {file.parent})")
    box = None if places.box is None else _box(where, dict(zip(_BOX, (cells[i] for i in places.box), strict=True)))
    above = None if places.coarse is None else cells[places.coarse]
    if above == "":
        raise InputError(f"{where} has no coarse class (dataset.coarse_label)")
    return Entry(place, name, part, box, above)


def _box(where: str, cells: Mapping[str, str]) -> Box | None:
    """The box of a line, with edges between pixels; None where the line has no value for it."""
    if not any(cells.values()):
        return None
    values = {}
    for name, cell in cells.items():
        try:
            values[name] = float(cell)
        except ValueError:
            values[name] = math.nan
        if not math.isfinite(values[name]):
            raise InputError(f"{where}: {name} is {cell!r}, it has to be a number of pixels")
        if name in ("width", "height") and values[name] < 1:
            raise InputError(f"{where}: {name} is {cell}, and a box has at least one pixel (shares of 1 are no pixels)")
    left, upper = round(values["x"]), round(values["y"])
    right, lower = round(values["x"] + values["width"]), round(values["y"] + values["height"])
    if min(left, upper) < 0:
        raise InputError(f"{where}: the box begins outside of the image, at x={cells['x']} y={cells['y']}")
    return Box(left, upper, right - left, lower - upper)


def _places(file: Path, header: list[str], label: str | None, box: bool | None, coarse: str | None) -> _Places:
    path = _place(file, header, "path")
    named = _place(file, header, "label") if label is None else _chosen(file, header, "label", label)
    above = None if coarse is None else _chosen(file, header, "coarse_label", coarse)
    split = header.index("split") if "split" in header else None
    near = get_close_matches("split", header, n=1, cutoff=0.6)
    if split is None and near:
        raise _missing(file, header, "split", near)
    found = _Places(path, named, split, _box_places(file, header, box), above)
    for place in (path, named, *(one for one in (split, above) if one is not None), *(found.box or ())):
        if header.count(header[place]) > 1:
            raise InputError(f"{file} has the column {header[place]!r} more than once: leave one of them")
    return found


def _chosen(file: Path, header: list[str], key: str, column: str) -> int:
    if column.strip().lower() not in header:
        raise InputError(f"dataset.{key}={column}: {file} has no such column, only {_listed(header)}")
    return header.index(column.strip().lower())


def _place(file: Path, header: list[str], column: str) -> int:
    if column not in header:
        raise _missing(file, header, column, get_close_matches(column, header, n=1, cutoff=0.6))
    return header.index(column)


def _box_places(file: Path, header: list[str], box: bool | None) -> tuple[int, ...] | None:
    gone = [name for name in _BOX if name not in header]
    if box and gone:
        raise InputError(f"dataset.box=true: {file} has no column {', '.join(gone)}, only {_listed(header)}")
    if box is None and len(gone) == 1:
        raise InputError(f"{file} has {', '.join(n for n in _BOX if n not in gone)} but no column {gone[0]}: add it, "
                         "or set dataset.box=false to read whole images")  # fmt: skip
    if box is False or gone:
        return None
    if box is None:
        log.info("%s: images are cropped to the boxes of x,y,width,height (dataset.box=false reads them whole)", file)
    return tuple(map(header.index, _BOX))


def _missing(file: Path, header: list[str], column: str, near: list[str]) -> InputError:
    found = f"'{near[0]}'" if near else f"only '{_listed(header)}'"
    other = " (dataset.label=<column> names another)" if column == "label" else ""
    return InputError(f"{file} has no column '{column}', {found} in its header: it has to be path,label[,split]{other}")


def _listed(header: list[str]) -> str:
    return ",".join(header)[:80]
