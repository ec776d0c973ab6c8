"""Images named in a CSV file with their labels."""

import csv
import os
from difflib import get_close_matches
from pathlib import Path

from metriscope.data.examples import Source
from metriscope.data.listing import ImageList, Listing, natural, read
from metriscope.data.tables import text_of
from metriscope.errors import InputError

_TEST_SHARE = 0.2
_COLUMNS = ("path", "label", "split")
_Row = tuple[int, str, str, str]  # line, path, label, split


def load(path: str | None, image_size: int | None = None, memory_limit_mb: int = 2048) -> Source:
    """Images uint8 (N, 3, H, W) from a file with the columns ``path``, ``label`` and, if wanted, ``split``.

    Paths are relative to the file; labels are any text, classes in natural order (``class 2`` before
    ``class 10``); the split is ``train`` or ``test``. Without it a closed-set test takes a fixed stratified
    fifth. Further columns are passed over.

    Args:
        path: the CSV file, UTF-8, with a header.
        image_size, memory_limit_mb: see :func:`metriscope.data.listing.read`.

    Raises:
        InputError: a file or image that is not there, a column that is missing, or a line that cannot be
            used; the message gives its number.
    """
    if path is None:
        raise InputError("dataset=csv needs a file with the columns path,label[,split]: set dataset.path=<file>")
    return read(find(Path(path)), image_size, memory_limit_mb)


def find(file: Path) -> Listing:
    """The files of :func:`load`, which raises the same."""
    table = _rows(file)
    classes = tuple(natural({label for _, _, label, _ in table}))
    train, test = (_list(file, [row for row in table if row[3] == split], classes) for split in ("train", "test"))
    if not len(train):
        raise InputError(f"{file} has no line of the split 'train'")
    halves = any(split == "test" for *_, split in table)
    return Listing(train, test if halves else None, test_share=None if halves else _TEST_SHARE)


def _list(file: Path, table: list[_Row], classes: tuple[str, ...]) -> ImageList:
    ids = {name: label for label, name in enumerate(classes)}
    paths = tuple(os.path.join(file.parent, path) for _, path, _, _ in table)
    return ImageList(paths, tuple(ids[label] for _, _, label, _ in table), classes)


def _rows(file: Path) -> list[_Row]:
    lines = csv.reader(text_of(file).splitlines())
    header = [name.strip().lower() for name in next(lines, [])]
    places = {column: _place(file, header, column) for column in _COLUMNS}
    table: list[_Row] = []
    seen: dict[str, int] = {}
    for cells in lines:
        line = lines.line_num
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise InputError(f"{file} line {line} has {len(cells)} columns, the header {len(header)}")
        path, label, split = ("train" if (at := places[column]) is None else cells[at].strip() for column in _COLUMNS)
        if not path or not label:
            raise InputError(f"{file} line {line} has no {'label' if path else 'path'}")
        if split not in ("train", "test"):
            raise InputError(f"{file} line {line}: the split is {split!r}, it has to be train or test")
        if path in seen:
            raise InputError(f"{file} line {line} names {path} again, after line {seen[path]}")
        if not os.path.isfile(os.path.join(file.parent, path)):
            raise InputError(f"{file} line {line}: there is no file {path} (paths are relative to {file.parent})")
        seen[path] = line
        table.append((line, path, label, split))
    if not table:
        raise InputError(f"{file} names no image: expected a header path,label[,split] and lines below it")
    return table


def _place(file: Path, header: list[str], column: str) -> int | None:
    """Where a column is; None for a split that is not given."""
    if column in header:
        return header.index(column)
    found = ",".join(header)
    near = get_close_matches(column, header, n=1, cutoff=0.6)
    if column == "split" and not near:
        return None
    hint = f"; did you mean it by '{near[0]}'?" if near else ": it has to begin with path,label[,split]"
    raise InputError(f"{file} has no column '{column}' in its header '{found[:80]}'{hint}")
