"""Classes by name, imported when they are first used: what the public modules of parts are made of."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazily(public: str, modules: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a module whose names live elsewhere.

    Args:
        public: the module's own name, for the message about a name that is not there.
        modules: name -> module that defines it.
    """

    def getattribute(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {public!r} has no attribute {name!r}; it has {', '.join(sorted(modules))}")
        return getattr(import_module(modules[name]), name)

    return getattribute, lambda: sorted(modules)
