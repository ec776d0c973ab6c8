"""``run.json``, the record of what happened to a run: its format, its statuses, how it is read. Imports no torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metriscope.errors import InputError

FORMAT = 2
"""Of run folders that this version writes. Records without a number are of format 1."""

FINISHED, RUNNING, FAILED, INTERRUPTED = "finished", "running", "failed", "interrupted"
# Ended by a search that expected nothing better of it; it can be resumed like an interrupted one.
PRUNED = "pruned"


def format_of(record: Mapping[str, Any]) -> Any:
    """The number of the format that a record is written in."""
    return record.get("format", 1)


def later(record: Mapping[str, Any]) -> str | None:
    """What to say of a record that a later version wrote; None of one that this version reads."""
    number = format_of(record)
    if isinstance(number, int) and number <= FORMAT:
        return None
    return (
        f"was written by a later version of Metriscope (format {number}, this one reads up to {FORMAT}): "
        "update, or set another study"
    )


def read_record(folder: Path) -> dict[str, Any]:
    """The content of ``run.json``; empty where there is none.

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
    """A file of a run that must hold a JSON object.

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
