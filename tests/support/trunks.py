"""Sections of a config that describe a trunk, as short as they can be."""

from typing import Any

from metriscope.config.files import section


def described(choice: str, /, **keys: Any) -> dict[str, Any]:
    """The ``_target_`` and the name of a choice of ``backbone``, with these keys."""
    own = section("backbone", choice)
    library = {"library": own.library} if "library" in own else {}
    return {"_target_": own._target_, **({} if library else {"name": choice}), **library, **keys}
