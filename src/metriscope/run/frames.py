"""Histories and studies as data frames; pandas is imported when the first one is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from metriscope.errors import InputError
from metriscope.run.history import Row

if TYPE_CHECKING:
    from pandas import DataFrame


def history_frame(rows: Sequence[Row]) -> DataFrame:
    """One line per row of a history: ``epoch``, ``step``, and a column for each key, NaN where it was not logged.

    Raises:
        InputError: pandas is not installed.
    """
    return _pandas().DataFrame(rows, columns=list({"epoch": 0, "step": 0} | {key: 0 for row in rows for key in row}))


def table_frame(lines: Mapping[str, Sequence[Mapping[str, Any]]]) -> DataFrame:
    """One line per name, from mappings; all keys of the first mapping come before those of the second, and so on.

    Raises:
        InputError: pandas is not installed.
    """
    blocks = zip(*lines.values(), strict=True)
    columns = list({key: 0 for block in blocks for line in block for key in line})
    rows = [{key: value for part in parts for key, value in part.items()} for parts in lines.values()]
    return _pandas().DataFrame(rows, index=list(lines), columns=columns)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise InputError("a data frame needs a package: pip install 'metriscope[tables]'") from error
    return pandas
