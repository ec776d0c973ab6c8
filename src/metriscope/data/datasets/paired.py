"""Pairs of vectors of two modalities from a file of one's own, such as features of the sound and image of a clip."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import AfterValidator, Field

from metriscope.data.examples import Examples, Source
from metriscope.data.files.arrays import HDF5, Array, PairArrays, read_arrays
from metriscope.data.files.listing import natural
from metriscope.data.files.paired_csv import TEST_SHARE, parts_of
from metriscope.data.inputs.paired import PairedVectors
from metriscope.errors import InputError
from metriscope.parts import judged


def _names(sides: Sequence[str]) -> Sequence[str]:
    words = all(isinstance(side, str) and side.replace("_", "").isalnum() for side in sides)
    if len(sides) != 2 or not words or sides[0] == sides[1]:
        raise ValueError
    return sides


_LARGEST = 2.0**53

Sides = Annotated[
    Sequence[str], AfterValidator(_names), Field(description="two different names of letters, digits and _")
]


@judged
def load(path: str | None = None, sides: Sides = ("audio", "visual")) -> Source:
    """Pairs of vectors with one label for each pair.

    An ``.npz`` or HDF5 file (``.h5``, ``.hdf5``) has the keys ``audio_train``, ``visual_train``, ``lab_train``,
    ``audio_test``, ``visual_test`` and ``lab_test``, as the feature files of VEGAS and AVE in the public code of
    arXiv:2310.13451 and of DCLMA have (ZenzenDatabase/CMR, zhangjiwei-japan/cross-modal-visual-audio-retrieval; names
    of keys read there, sizes of the data sets not verified): vectors (N, F0) and (N, F1) of numbers, and labels (N,) or
    (N, 1) of whole numbers or names. Row i of both is pair i. Numbers are taken as they are, as float32.

    A ``.csv`` file has the columns ``audio``, ``visual``, ``label`` and, if wanted, ``split`` (train, val or test), of
    which the first two name ``.npy`` files of one vector each, relative to the file. Without a test part a closed-set
    test takes a fixed stratified fifth.

    Args:
        path: the file.
        sides: names of the two modalities, in the place of ``audio`` and ``visual``.

    Raises:
        InputError: a file, key or column is missing; an array has another rank, length or type, or holds NaN or Inf; or
            a line is invalid.
    """
    first, second = sides
    if path is None:
        keys = f"{first}_train, {second}_train, lab_train, {first}_test, {second}_test and lab_test"
        raise InputError(f"dataset=paired needs a file with the keys {keys}: set dataset.path=<.npz, .h5 or .csv>")
    file = Path(path)
    ending = file.suffix.lower()
    if ending == ".csv":
        arrays = parts_of(file, first, second)
    elif ending == ".npz" or ending in HDF5:
        arrays = _halves(file, first, second)
    else:
        raise InputError(f"dataset.path={path}: pairs are in a file that ends in .npz, .h5, .hdf5 or .csv")
    parts = {name: _examples(str(file), half, (first, second), name) for name, half in arrays.items()}
    _check_sizes(file, parts)
    test = parts.get("test")
    return Source(parts["train"], test, test_share=TEST_SHARE if test is None else None, validation=parts.get("val"))


def _halves(file: Path, first: str, second: str) -> dict[str, PairArrays]:
    halves = {half: [f"{what}_{half}" for what in (first, second, "lab")] for half in ("train", "test")}
    arrays = read_arrays(file, [key for keys in halves.values() for key in keys])
    return {half: PairArrays(*(arrays[key] for key in keys)) for half, keys in halves.items()}


def _examples(where: str, arrays: PairArrays, sides: tuple[str, str], part: str) -> Examples:
    keys = [f"{what}_{part}" for what in (*sides, "lab")]
    vectors = [_vectors(where, key, array) for key, array in zip(keys[:2], arrays[:2], strict=True)]
    names = _labels(where, keys[2], arrays.labels)
    lengths = [len(vectors[0]), len(vectors[1]), len(names)]
    if len(set(lengths)) > 1:
        told = ", ".join(f"{key} {length}" for key, length in zip(keys, lengths, strict=True))
        raise InputError(f"{where}: other numbers of rows ({told}): a pair has one vector of each side and one label")
    classes = tuple(natural(set(names)))
    ids = {name: place for place, name in enumerate(classes)}
    return Examples(PairedVectors(vectors[0], vectors[1], sides), torch.tensor([ids[name] for name in names]), classes)


def _vectors(where: str, key: str, array: Array) -> torch.Tensor:
    if array.dtype.kind not in "fiu":
        raise InputError(f"{where}: {key} is of {array.dtype}: store vectors of numbers")
    if array.ndim != 2 or 0 in array.shape:
        hint = "; take the mean over the frames of a clip" if array.ndim == 3 else ""
        raise InputError(
            f"{where}: {key} has the shape {array.shape}: it has to be (N, F), a vector of each pair{hint}"
        )
    with np.errstate(over="ignore"):
        values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    bad = (~values.isfinite().all(1)).nonzero().squeeze(1)
    if len(bad):
        raise InputError(
            f"{where}: {key} holds NaN or Inf in {len(bad)} of {len(values)} rows, "
            f"first in row {int(bad[0])} (from 0), read as float32"
        )
    return values


def _labels(where: str, key: str, array: Array) -> list[str]:
    """The class name of each pair."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        hint = "; of one-hot rows, store the place of the 1" if array.ndim == 2 else ""
        raise InputError(f"{where}: {key} has the shape {array.shape}: it has to be (N,), one label of each pair{hint}")
    if array.dtype.kind == "f":
        # Above 2^53 neighbouring whole numbers are one float.
        array = array.astype(np.float64)
        whole = (np.abs(array) <= _LARGEST) & (array == np.round(array))
        if not whole.all():
            found = array[~whole][0]
            raise InputError(f"{where}: {key} holds {found}: labels are whole numbers or names, floats at most 2^53")
        array = array.astype(np.int64)
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(f"{where}: {key} holds a name that is no UTF-8 text: store names as UTF-8") from error
    if array.dtype.kind not in "iuU":
        raise InputError(f"{where}: {key} is of {array.dtype}: labels are whole numbers or names")
    names = [str(label) for label in array.tolist()]
    for row, name in enumerate(names):
        if not name.strip():
            raise InputError(f"{where}: {key} has no name in row {row} (from 0): each pair needs a label")
    return names


def _check_sizes(file: Path, parts: Mapping[str, Examples]) -> None:
    train, *others = parts
    for other in others:
        if parts[other].shape != parts[train].shape:
            shapes = " and ".join(f"{' x '.join(map(str, parts[name].shape))} in {name}" for name in (train, other))
            raise InputError(f"{file}: vectors of other sizes, {shapes}: both parts need the same features")
