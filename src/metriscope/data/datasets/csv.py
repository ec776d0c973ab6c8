"""Images named in a CSV file with their labels."""

import csv
import io
import os
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from metriscope.data.examples import Source
from metriscope.data.files.listing import ImageList, Listing, natural, source
from metriscope.data.files.tables import text_of
from metriscope.errors import InputError

_TEST_SHARE = 0.2
_COLUMNS = ("path", "label", "split")


class _Row(NamedTuple):
    path: str
    label: str
    split: str


def load(path: str | None, image_size: int | None = None) -> Source:
    """Images uint8 (N, 3, H, W) from a file with the columns ``path``, ``label`` and, if wanted, ``split``.

    Paths are relative to the file; labels are any text, classes in natural order (``class 2`` before
    ``class 10``); the split is ``train`` or ``test``. Without it a closed-set test takes a fixed stratified
    fifth. Other columns are ignored.

    Args:
        path: the CSV file, UTF-8, with a header.
        image_size: see :func:`metriscope.data.files.listing.source`.

    Raises:
        InputError: a file, image or column is missing, or a line is invalid; the message gives the line
            number.
    """
    if path is None:
        raise InputError("dataset=csv needs a file with the columns path,label[,split]: set dataset.path=<file>")
    return source(find(Path(path)), image_size)


def find(file: Path) -> Listing:
    """The image files of the data set; raises as :func:`load` does."""
    table = _rows(file)
    train, test = ([row for row in table if row.split == split] for split in ("train", "test"))
    if not train:
        raise InputError(f"{file} has no line of the split 'train'")
    if test:
        return Listing(_list(file, train), _list(file, test))
    return Listing(_list(file, train), test_share=_TEST_SHARE)


def _list(file: Path, table: list[_Row]) -> ImageList:
    classes = natural({row.label for row in table})
    ids = {name: position for position, name in enumerate(classes)}
    paths = tuple(os.path.join(file.parent, row.path) for row in table)
    return ImageList(paths, tuple(ids[row.label] for row in table), tuple(classes))


def _rows(file: Path) -> list[_Row]:
    lines = csv.reader(io.StringIO(text_of(file)))
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        places = {column: _place(file, header, column) for column in _COLUMNS}
        table: dict[str, _Row] = {}
        for cells in lines:
            if any(cell.strip() for cell in cells):
                row = _row(file, lines.line_num, cells, header, places)
                if row.path in table:
                    raise InputError(f"{file} line {lines.line_num} names {row.path} a second time")
                table[row.path] = row
    except csv.Error as error:
        raise InputError(f"{file} line {lines.line_num}: {error}") from error
    if not table:
        raise InputError(f"{file} names no image: expected a header path,label[,split] and lines below it")
    return list(table.values())


def _row(file: Path, line: int, cells: list[str], header: list[str], places: dict[str, int | None]) -> _Row:
    if len(cells) != len(header):
        raise InputError(f"{file} line {line} has {len(cells)} columns, the header {len(header)}")
    row = _Row(*("train" if (place := places[column]) is None else cells[place].strip() for column in _COLUMNS))
    if not row.path or not row.label:
        raise InputError(f"{file} line {line} has no {'label' if row.path else 'path'}")
    if row.split not in ("train", "test"):
        raise InputError(f"{file} line {line}: the split is {row.split!r}, it has to be train or test")
    if not os.path.isfile(os.path.join(file.parent, row.path)):
        raise InputError(f"{file} line {line}: there is no file {row.path} (paths are relative to {file.parent})")
    return row


def _place(file: Path, header: list[str], column: str) -> int | None:
    """Position of a column; None if the optional column ``split`` is missing."""
    if column in header:
        return header.index(column)
    near = get_close_matches(column, header, n=1, cutoff=0.6)
    if column == "split" and not near:
        return None
    found = f"'{near[0]}'" if near else f"only '{','.join(header)[:80]}'"
    raise InputError(f"{file} has no column '{column}', {found} in its header: it has to be path,label[,split]")
