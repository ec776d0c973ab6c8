"""Pairs of vectors that a CSV file lists, one .npy file for each vector."""

import csv
import io
from pathlib import Path

import numpy as np

from metriscope.data.files.arrays import Array, PairArrays, read_vector
from metriscope.data.files.tables import text_of
from metriscope.errors import InputError

TEST_SHARE = 0.2
"""Of each class, where the file names no test part."""

_PARTS = ("train", "val", "test")


def parts_of(file: Path, first: str, second: str) -> dict[str, PairArrays]:
    """Vectors of both sides, and labels, by part; train comes first.

    Args:
        file: with the columns ``first``, ``second``, ``label`` and, if wanted, ``split``.

    Raises:
        InputError: a column, value or file is missing, a pair is there twice, or a vector is none or of another length.
    """
    reader = csv.DictReader(io.StringIO(text_of(file)))
    header = [name.strip().lower() for name in reader.fieldnames or []]
    reader.fieldnames = header
    for column in (first, second, "label"):
        if header.count(column.lower()) != 1:
            raise InputError(
                f"{file} needs one column {column} and has {','.join(header)[:80]!r}: its header has to be "
                f"{first},{second},label[,split]"
            )
    found_rows: dict[str, list[tuple[Array, Array, str]]] = {}
    sizes: dict[str, int] = {}
    seen: dict[tuple[str, str], int] = {}
    try:
        for line in reader:
            where = f"{file} line {reader.line_num}"
            cells = {key: (value or "").strip() for key, value in line.items() if isinstance(key, str)}
            part, label = cells.get("split", "train"), cells["label"]
            if not label:
                raise InputError(f"{where}: there is no label")
            if part not in _PARTS:
                raise InputError(f"{where}: the split is {part!r}, it has to be train, val or test")
            named = cells[first.lower()], cells[second.lower()]
            if all(named) and seen.setdefault(named, reader.line_num) != reader.line_num:
                raise InputError(f"{where} names the pair {', '.join(named)} a second time, as line {seen[named]} does")
            one, other = (_vector(file, where, side, cells[side.lower()], sizes) for side in (first, second))
            found_rows.setdefault(part, []).append((one, other, label))
    except csv.Error as error:
        raise InputError(f"{file} line {reader.line_num}: {error}") from error
    if "train" not in found_rows:
        raise InputError(f"{file} lists no pair of the split 'train'")
    return {
        part: PairArrays(np.stack(columns[0]), np.stack(columns[1]), np.array(columns[2]))
        for part in _PARTS
        if part in found_rows
        for columns in [list(zip(*found_rows[part], strict=True))]
    }


def _vector(file: Path, where: str, side: str, name: str, sizes: dict[str, int]) -> Array:
    if not name:
        raise InputError(f"{where}: there is no {side}: a pair has one vector of each side")
    try:
        vector = read_vector(file.parent / name)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if vector.ndim != 1:
        raise InputError(f"{where}: {name} has the shape {vector.shape}: it has to be one vector (F,)")
    if sizes.setdefault(side, len(vector)) != len(vector):
        raise InputError(f"{where}: {name} has {len(vector)} numbers, those of {side} before it have {sizes[side]}")
    return vector
