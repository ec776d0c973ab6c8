"""Folders of further choices, named or installed, as one word ``hydra.searchpath=[...]``, which all of Hydra knows."""

from collections.abc import Sequence
from pathlib import Path

from metriscope.config.installed import folder_in_package, installed
from metriscope.config.words import parse
from metriscope.errors import InputError

_KEY = "hydra.searchpath"


def with_folder(words: Sequence[str], config_dir: str | Path | None) -> list[str]:
    """The same words, in which one ``hydra.searchpath`` holds every folder of choices, from the root on.

    The folders of installed packages come last.

    Args:
        words: of a command line.
        config_dir: a further folder, which comes first.

    Raises:
        InputError: a folder that is not there.
    """
    others = [word for word in words if str(parse(word).key_or_group) != _KEY]
    asked = [] if config_dir is None else [("--config-dir", str(config_dir))]
    asked += [(_KEY, entry) for entry in _entries(words)]
    for source, entry in asked:
        if not _folder(entry).is_dir():
            raise InputError(f"{source}={entry}: no such folder of configs")
    known = {_folder(entry).resolve() for _, entry in asked}
    entries = [entry for _, entry in asked]
    entries += [str(folder) for folder in installed().folders if folder.resolve() not in known]
    if not entries:
        return others
    whole = ",".join(map(_quoted, entries))
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
        return folder_in_package(entry.removeprefix("pkg://").replace("/", ".")) or Path(entry)
    return Path(entry.removeprefix("file://"))


def _quoted(entry: str) -> str:
    escaped = f"file://{_folder(entry).resolve()}".replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
