"""Annotations in words: what a value has to be, for messages and pages."""

import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from metriscope.errors import nearest


def wanted(hint: Any, value: Any = None) -> str:
    """What an annotation asks for, such as ``a number of at least 0`` or ``one of mean, sum``.

    An annotation that cannot be read in this way says it itself: ``Field(description="two numbers, lowest first")``.

    Args:
        hint: the annotation of an argument.
        value: that was given instead; the nearest choice is named.
    """
    options, null = _options(hint)
    words = " or ".join(dict.fromkeys(_one(option) for option in options))
    choices = [choice for option in options for choice in _choices(option)]
    line = words + (", or null" if null else "")
    return line + (nearest(str(value), choices).rstrip(".") if choices and value is not None else "")


def allows_null(hint: Any) -> bool:
    """Whether None is among what an annotation allows."""
    return hint is Any or _options(hint)[1]


def said(value: Any) -> str:
    """A value as a config says it."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _options(hint: Any) -> tuple[list[Any], bool]:
    """The members of a union without None, and whether None was among them."""
    if get_origin(hint) in (Union, types.UnionType):
        members = [member for member in get_args(hint) if member is not type(None)]
        return members, len(members) < len(get_args(hint))
    return [hint], hint is type(None)


def _one(hint: Any) -> str:
    base, bounds = _bounds(hint)
    if description := next(filter(None, (getattr(extra, "description", None) for extra in _extras(hint))), None):
        return str(description)
    if get_origin(base) is Literal:
        return "one of " + ", ".join(map(said, get_args(base)))
    if base is bool:
        return "true or false"
    if base in (int, float):
        return ("a whole number" if base is int else "a number") + _between(bounds)
    if base is str:
        return "a name"
    origin = get_origin(base) or base
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return "a mapping"
    if isinstance(origin, type) and issubclass(origin, Sequence):
        inner = [argument for argument in get_args(base) if argument is not ...]
        length = f" {len(inner)}" if origin is tuple and ... not in get_args(base) else ""
        some = " one or more" if bounds.get("min_length") == 1 else ""
        return f"a list of{length}{some} " + (_plural(wanted(inner[0])) if inner else "values")
    return f"of type {getattr(base, '__name__', base)}"


def _plural(words: str) -> str:
    for one, many in (("a whole number", "whole numbers"), ("a number", "numbers"), ("a name", "names")):
        if words.startswith(one):
            return many + words[len(one) :]
    return words


def _choices(hint: Any) -> list[str]:
    base, _ = _bounds(hint)
    return [said(choice) for choice in get_args(base)] if get_origin(base) is Literal else []


def _extras(hint: Any) -> list[Any]:
    return list(get_args(hint)[1:]) if get_origin(hint) is Annotated else []


def _bounds(hint: Any) -> tuple[Any, dict[str, Any]]:
    base = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    bounds: dict[str, Any] = {}
    for extra in _extras(hint):
        for rule in (extra, *getattr(extra, "metadata", ())):
            bounds.update(
                {key: getattr(rule, key) for key in ("ge", "gt", "le", "lt", "min_length") if hasattr(rule, key)}
            )
    return base, bounds


def _between(bounds: Mapping[str, Any]) -> str:
    words = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}
    return " and ".join(f" {words[key]} {bounds[key]:g}".rstrip() for key in words if key in bounds).replace("  ", " ")
