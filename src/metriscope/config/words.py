"""Words of a command line, as Hydra reads them."""

from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from metriscope.errors import InputError


@cache
def parse(word: str) -> Override:
    """One word of the command line as Hydra reads it.

    Raises:
        InputError: it cannot be read.
    """
    try:
        override: Override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        hint = "a value with unusual characters needs quotes of its own, as in \"dataset.path='Übung 1'\""
        raise InputError(f"cannot read '{word}': {first_lines(error)}; {hint}") from error
    return override


def first_lines(error: Exception) -> str:
    """What an exception says, in one line of at most 300 characters; its type where it says nothing."""
    line = " ".join(line.strip() for line in str(error).splitlines() if line.strip())[:300]
    return line or type(error).__name__
