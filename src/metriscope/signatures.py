"""What a class or a function takes by name: defaults and annotations of its arguments."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter

_STRICT = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)


class Argument(NamedTuple):
    """One argument; its adapter judges values where there is an annotation that can."""

    default: Any
    hint: Any
    adapter: TypeAdapter[Any] | None


@cache
def taken_by(part: Callable[..., Any]) -> tuple[dict[str, Argument], bool]:
    """What a part takes by name, and whether it takes any further name."""
    call = part.__init__ if inspect.isclass(part) else part
    if call is object.__init__:
        return {}, False
    try:
        parameters = list(inspect.signature(call).parameters.values())
    except (TypeError, ValueError):
        return {}, True
    parameters = parameters[1:] if inspect.isclass(part) else parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {p.name: _argument(p.default, _hint(p.annotation, call)) for p in parameters if p.kind in named}
    return known, any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)


def _hint(annotation: Any, call: Callable[..., Any]) -> Any:
    """An annotation that may be text; Any where there is none, or where it names what only a type checker imports."""
    if annotation is inspect.Parameter.empty:
        return Any
    names = getattr(inspect.unwrap(call), "__globals__", {})
    try:
        return get_type_hints(SimpleNamespace(__annotations__={"it": annotation}), names, include_extras=True)["it"]
    except (NameError, TypeError, AttributeError):
        return Any


def _argument(default: Any, hint: Any) -> Argument:
    try:
        return Argument(default, hint, None if hint is Any else TypeAdapter(hint, config=_STRICT))
    except (PydanticSchemaGenerationError, TypeError):
        return Argument(default, hint, None)
    except Exception as error:  # pydantic refuses a config for types that bring their own
        if type(error).__name__ != "PydanticUserError":
            raise
        return Argument(default, hint, None)


def by_name(part: type, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name.

    Raises:
        TypeError: they do not fit the signature, and the part itself would not say it better.
    """
    try:
        bound = inspect.signature(part.__init__).bind(None, *args, **kwargs)  # type: ignore[misc]
    except TypeError as error:
        if args:
            raise
        _, open_ended = taken_by(part)
        if open_ended:
            raise error
        return dict(kwargs)
    given = dict(list(bound.arguments.items())[1:])
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            given.update(given.pop(name, {}))
        elif parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            given.pop(name, None)
    return given
