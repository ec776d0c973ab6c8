"""Which pairs of two modalities are compared: the values of ``pairs_across``, and the parts that take them."""

from collections.abc import Iterable
from typing import Any, Literal, get_args

from metriscope.errors import InputError

Across = Literal["all", "other", "same"]
"""The references that an anchor is compared with: all, those of the other side, or those of its own side."""
ACROSS = get_args(Across)


def left_out(across: Across | None) -> Across | None:
    """The same, None for all."""
    return None if across == "all" else across


def check_across(across: str | None, parts: Iterable[tuple[str, Any]]) -> None:
    """Refuse a part that cannot do without the pairs that are left out.

    Args:
        across: which pairs are compared; None for all.
        parts: each with what it is called. A part says what it cannot take by ``not_across``, reasons by ``other`` and
            ``same``.

    Raises:
        InputError: naming the part, and why.
    """
    for name, part in parts:
        reason = getattr(part, "not_across", {}).get(across)
        if reason:
            raise InputError(f"pairs_across={across} does not go with {name}: {reason}")
