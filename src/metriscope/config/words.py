"""Words of a command line, as Hydra reads them."""

from collections.abc import Sequence
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from metriscope.config.aliases import today
from metriscope.errors import InputError


@cache
def parse(word: str) -> Override:
    """One word of the command line as Hydra reads it.

    Raises:
        InputError: it cannot be read.
    """
    name, equals, _ = word.partition("=")
    if not name or (not equals and not name.startswith("~")):
        raise InputError(f"cannot read '{word}': give a key and its value, as in {name or 'seed'}=...")
    try:
        override: Override = OverridesParser.create().parse_override(word)
    except HydraException as error:
        hint = "a value with unusual characters needs quotes of its own, as in \"dataset.path='Übung 1'\""
        raise InputError(f"cannot read '{word}': {first_lines(error)}; {hint}") from error
    return override


def forced(words: Sequence[str]) -> list[str]:
    """The same words, in which an earlier key is added where a composed config no longer has it.

    Raises:
        InputError: an earlier key and the key of today in one command line.
    """
    found, given = list(words), [str(parse(word).key_or_group) for word in words]
    for place, key in enumerate(given):
        new = today(key)
        if new is None or parse(words[place]).is_delete():
            continue
        # What stood below diagnostics.own is now beside diagnostics that others switch.
        for other in given if "." in new else ():
            holds = other.startswith("evaluation.metrics") and new.startswith(f"{other}.")
            if holds or f"{other}.".startswith(f"{new}."):
                raise InputError(f"{key} and {other} are one and the same: leave out {key}")
        found[place] = f"++{key}={words[place].partition('=')[2]}"
    return found


def keys_of(words: Sequence[str]) -> frozenset[str]:
    """The keys and groups that words of a command line set."""
    return frozenset(str(parse(word).key_or_group) for word in words)


def renamed(words: Sequence[str]) -> list[str]:
    """The same words with the keys of today."""
    found = []
    for word in words:
        key = str(parse(word).key_or_group)
        new = today(key)
        found.append(word if new is None else word.replace(key, new, 1))
    return found


def first_lines(error: Exception) -> str:
    """What an exception says, in one line of at most 300 characters; its type where it says nothing."""
    line = " ".join(line.strip() for line in str(error).splitlines() if line.strip())[:300]
    return line or type(error).__name__
