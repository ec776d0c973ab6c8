"""Arrays by name, from a .npz or an HDF5 file that others have written; no object is unpickled."""

import zipfile
import zlib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metriscope.errors import InputError, nearest
from metriscope.reading import kind_of

Array = NDArray[Any]


class PairArrays(NamedTuple):
    """Vectors of both sides of N pairs, and their labels, as they are stored."""

    first: Array
    second: Array
    labels: Array


HDF5 = (".h5", ".hdf5")
_KEYS_SHOWN = 12


def read_arrays(path: Path, keys: Sequence[str]) -> dict[str, Array]:
    """The arrays of a file with these names.

    Args:
        path: ends in .npz, .h5 or .hdf5.
        keys: names of arrays.

    Raises:
        InputError: the file cannot be read, a name is missing, or an array holds objects; or h5py is not installed.
    """
    _check_kind(path)
    return _of_hdf5(path, keys) if path.suffix.lower() in HDF5 else _of_npz(path, keys)


def read_vector(path: Path) -> Array:
    """The array of a .npy file; raises as :func:`read_arrays`."""
    _check_kind(path)
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read {path}: {_said(error)}") from error
    if not isinstance(found, np.ndarray):
        raise InputError(f"cannot read {path}: it is no .npy file of one array")
    return found


def _check_kind(path: Path) -> None:
    """Refuse what is no file: a pipe would be waited for without end."""
    try:
        kind = kind_of(path, follow=True)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if kind is not None:
        raise InputError(f"cannot read {path}: it is {kind}")


def _of_npz(path: Path, keys: Sequence[str]) -> dict[str, Array]:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            raise InputError(f"cannot read {path}: it is one array, and no .npz file of several: use numpy.savez")
        with found as file:
            _check_keys(path, list(file.files), keys)
            return {key: _of_member(path, key, file) for key in keys}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read {path}: {_said(error)}") from error


def _of_member(path: Path, key: str, file: Any) -> Array:
    try:
        found: Array = file[key]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: {key} cannot be read: {_said(error)}") from error
    return found


def _of_hdf5(path: Path, keys: Sequence[str]) -> dict[str, Array]:
    try:
        h5py: Any = import_module("h5py")
    except ImportError as error:
        raise InputError(
            f"{path}: HDF5 needs a package: pip install 'metriscope[hdf5]'; or give an .npz file"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            _check_keys(path, list(file), keys)
            return {key: _of_dataset(path, key, file[key], h5py) for key in keys}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(f"cannot read {path}: {_said(error)}") from error


def _of_dataset(path: Path, key: str, found: Any, h5py: Any) -> Array:
    if not isinstance(found, h5py.Dataset):
        raise InputError(f"{path}: {key} is no array, but a group of the HDF5 file")
    if h5py.check_string_dtype(found.dtype) is not None:
        return np.asarray(found.asstr()[...], dtype=np.str_)
    if found.dtype.hasobject:
        raise InputError(f"{path}: {key} holds objects, which are not read: store numbers")
    return np.asarray(found[...])


def _check_keys(path: Path, there: Sequence[str], keys: Sequence[str]) -> None:
    missing = [key for key in keys if key not in there]
    if missing:
        shown = ", ".join(sorted(there)[:_KEYS_SHOWN]) or "nothing"
        more = f" and {len(there) - _KEYS_SHOWN} more" if len(there) > _KEYS_SHOWN else ""
        raise InputError(f"{path} has no key {', '.join(missing)}, only {shown}{more}{nearest(missing[0], there)}")


def _said(error: BaseException) -> str:
    if "allow_pickle" in str(error):
        return "it holds objects, or is no file of arrays: store numbers"
    return (getattr(error, "strerror", None) or " ".join(str(error).split()))[:160]
