"""Rules of the section ``head`` that concern no head in particular. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from metriscope.errors import InputError


def parts_of(head: Mapping[str, Any], size: int | None) -> int:
    """How many parts of an embedding are normalised each on its own.

    Args:
        head: section of the config.
        size: of the embedding; None where the trunk decides and is not known yet.

    Raises:
        InputError: parts that are not normalised, or that do not divide the size.
    """
    parts = head.get("parts")
    if parts is None:
        return 1
    if not head["normalize"]:
        raise InputError(
            f"head.parts={parts} normalises each part of an embedding: set head.normalize=true, or head.parts=null"
        )
    if size is not None and size % parts:
        raise InputError(f"head.parts={parts} does not divide the {size} numbers of an embedding: change either")
    return int(parts)
