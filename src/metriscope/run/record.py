"""``run.json``, the record of a run: its format, its statuses, and functions that read it. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metriscope.errors import InputError

FORMAT = 2
"""Format number of the run folders that this version writes. Records without a number have format 1."""

FINISHED, RUNNING, FAILED, INTERRUPTED = "finished", "running", "failed", "interrupted"
# A search ended the run early because of worse results than other trials; it resumes like an interrupted run.
PRUNED = "pruned"


def format_of(record: Mapping[str, Any]) -> Any:
    """The format number of a record."""
    return record.get("format", 1)


def later(record: Mapping[str, Any]) -> str | None:
    """Error message for a record that a later version wrote; None for a record that this version can read."""
    number = format_of(record)
    if isinstance(number, int) and number <= FORMAT:
        return None
    return (
        f"was written by a later version of Metriscope (format {number}, this one reads up to {FORMAT}): "
        "update, or set another study"
    )


def read_record(folder: Path) -> dict[str, Any]:
    """The content of ``run.json``; empty if the file does not exist.

    Raises:
        InputError: it is not readable, or a later version wrote it.
    """
    path = folder / "run.json"
    if not path.exists():
        return {}
    record = read_json(path)
    if line := later(record):
        raise InputError(f"{path} {line}")
    return record


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a run.

    Raises:
        InputError: it is missing or not readable.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not an object")
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: move the folder away, or set resume=never") from error
    except ValueError as error:
        raise InputError(f"{path} is not readable ({error}): move the folder away") from error
    return content
