"""Secrets of the environment, which must not reach a config: it is written to files and sent to W&B."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from metriscope.errors import InputError

_WORDS = ("KEY", "TOKEN", "SECRET", "PASSWORD")
_VARIABLE = re.compile(r"oc\.env:\s*['\"]?([^\s,}'\"]+)")


def check_secrets(config: Mapping[str, Any]) -> None:
    """Refuse an interpolation of a variable whose name says that it is a secret.

    Args:
        config: flat, with its interpolations.

    Raises:
        InputError: naming the key and the variable.
    """
    for key, value in config.items():
        for name in _variables(value):
            if any(word in name.upper() for word in _WORDS):
                raise InputError(
                    f"{key}: the variable {name} would be written to config.yaml and sent to W&B for others to read; "
                    f"leave it out, or rename it if it is no secret (names with {', '.join(_WORDS)} are refused)"
                )


def _variables(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from _VARIABLE.findall(value)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _variables(key)
            yield from _variables(item)
    elif isinstance(value, list):
        for item in value:
            yield from _variables(item)
