"""Reading annotations from MATLAB files."""

from pathlib import Path
from typing import Any

import numpy as np

from metriscope.errors import InputError


def annotations(path: Path, *fields: str) -> list[tuple[Any, ...]]:
    """The values of ``fields`` for each record of the struct array ``annotations``.

    Reading is safe: a .mat file holds only data, never code.

    Raises:
        InputError: the file cannot be read, or has no such array.
    """
    records = np.atleast_1d(_variable(path, "annotations"))
    if absent := [field for field in fields if field not in (records.dtype.names or ())]:
        raise InputError(f"{path}: the records of 'annotations' have no {', '.join(absent)}")
    return [tuple(record[field] for field in fields) for record in records]


def class_names(path: Path) -> list[str]:
    """The cell array ``class_names``; raises as :func:`annotations`."""
    return [str(name) for name in np.atleast_1d(_variable(path, "class_names"))]


def _variable(path: Path, name: str) -> Any:
    from scipy.io import loadmat

    try:
        content = loadmat(path, variable_names=[name], squeeze_me=True)
    except Exception as error:  # a broken file makes the reader raise almost any type
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot read {path}: {reason}; delete it and fetch it anew") from error
    if name not in content:
        raise InputError(f"{path} holds no '{name}': it is another file than its name says")
    return content[name]
