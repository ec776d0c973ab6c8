"""Files of embeddings for other programs: NumPy's ``.npz`` and Parquet."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metriscope.errors import InputError
from metriscope.files import refuse_link, replacing
from metriscope.serving.embedded import Embedded

_METADATA = "metadata"
_KEY = b"metriscope"


class Format(NamedTuple):
    """How a file of embeddings is written, and how its facts are read again.

    Attributes:
        write: called with the embeddings, the file and plain values, the facts; replaces the file atomically.
        facts: of a file that was written; raises for another one, and for a damaged one.
    """

    write: Callable[[Embedded, Path, Mapping[str, Any]], None]
    facts: Callable[[Path], Mapping[str, Any]]


def format_of(path: Path) -> Format:
    """The format that the ending of a name says.

    Raises:
        InputError: it is none, or needs a package.
    """
    ending = path.suffix.lower()
    if ending not in _FORMATS:
        raise InputError(f"{path}: the name of the output has to end in {' or '.join(_FORMATS)}")
    if ending == ".parquet" and importlib.util.find_spec("pyarrow") is None:
        raise InputError(f"{path}: Parquet needs a package: pip install 'metriscope[tables]'; or write an .npz file")
    return _FORMATS[ending]


def _write_npz(embedded: Embedded, path: Path, facts: Mapping[str, Any]) -> None:
    arrays: dict[str, Any] = {"embeddings": embedded.embeddings.numpy(), "paths": np.array(embedded.paths, np.str_)}
    if embedded.labels is not None:
        arrays["labels"] = np.array(embedded.labels, np.str_)
    refuse_link(path)
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez(file, **{**arrays, _METADATA: np.array(json.dumps(facts))})


def _facts_of_npz(path: Path) -> Mapping[str, Any]:
    with np.load(path, allow_pickle=False) as arrays:
        _check(arrays.zip.testzip() is None)
        facts: Mapping[str, Any] = json.loads(str(arrays[_METADATA]))
    return facts


def _write_parquet(embedded: Embedded, path: Path, facts: Mapping[str, Any]) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = embedded.embeddings
    values = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.flatten().numpy()), rows.shape[1])
    try:
        names = {"paths": pyarrow.array(embedded.paths, pyarrow.string())}
        if embedded.labels is not None:
            names["labels"] = pyarrow.array(embedded.labels, pyarrow.string())
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: Parquet holds no names like {error.object!r}: write an .npz file") from error
    table = pyarrow.table({**names, "embeddings": values}).replace_schema_metadata({_KEY: json.dumps(facts)})
    refuse_link(path)
    with replacing(path) as draft:
        parquet.write_table(table, draft, write_page_checksum=True)


def _facts_of_parquet(path: Path) -> Mapping[str, Any]:
    from pyarrow import parquet

    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        facts: Mapping[str, Any] = json.loads(file.schema_arrow.metadata[_KEY])
        _check(sum(len(rows) for rows in file.iter_batches()) == file.metadata.num_rows)
    return facts


def _check(whole: bool) -> None:
    if not whole:
        raise ValueError("the file is not what was written")


_FORMATS = {".npz": Format(_write_npz, _facts_of_npz), ".parquet": Format(_write_parquet, _facts_of_parquet)}
