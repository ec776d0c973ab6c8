"""Folders of further choices: ``--config-dir`` becomes a word ``hydra.searchpath=[...]``, which all of Hydra knows."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from metriscope.config.words import parse
from metriscope.errors import InputError

_KEY = "hydra.searchpath"


def with_folder(words: Sequence[str], config_dir: str | Path | None) -> list[str]:
    """The same words, in which one ``hydra.searchpath`` holds every folder of choices, from the root on.

    Args:
        words: of a command line.
        config_dir: a further folder, which comes first.

    Raises:
        InputError: a folder that is not there.
    """
    others = [word for word in words if str(parse(word).key_or_group) != _KEY]
    asked = [] if config_dir is None else [("--config-dir", str(config_dir))]
    asked += [(_KEY, entry) for entry in _entries(words)]
    if not asked:
        return others
    for source, entry in asked:
        if not _folder(entry).is_dir():
            raise InputError(f"{source}={entry}: no such folder of configs")
    whole = ",".join(_quoted(entry) for _, entry in asked)
    return [*others, f"{_KEY}=[{whole}]"]


def folders(words: Sequence[str]) -> list[Path]:
    """The folders of choices that the words name, beside the shipped one."""
    return [_folder(entry) for entry in _entries(words)]


def of_search_path(words: Sequence[str]) -> list[str]:
    """Those of the words that name folders of choices."""
    return [word for word in words if str(parse(word).key_or_group) == _KEY]


def _entries(words: Sequence[str]) -> list[str]:
    found: list[str] = []
    for word in of_search_path(words):
        value = parse(word).value()
        if not isinstance(value, list):
            raise InputError(f"{word}: it has to be a list of folders, as in '{_KEY}=[my_configs]'")
        found += [str(getattr(entry, "text", entry)) for entry in value]
    return found


def _folder(entry: str) -> Path:
    if entry.startswith("pkg://"):
        package, _, below = entry.removeprefix("pkg://").replace(".", "/").partition("/")
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):
            spec = None
        places = list(spec.submodule_search_locations or []) if spec else []
        return Path(places[0]) / below if places else Path(entry)
    return Path(entry.removeprefix("file://"))


def _quoted(entry: str) -> str:
    name = entry if entry.startswith("pkg://") else f"file://{_folder(entry).resolve()}"
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
