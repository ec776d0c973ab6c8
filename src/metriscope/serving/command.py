"""The command of a run as others may see it: without paths of a machine and without its name."""

import re
import shlex
from collections.abc import Sequence
from pathlib import PurePath

from metriscope.escapes import shown

# Groups of keys that change no result, but say where things are.
_LEFT_OUT = ("paths", "logger", "tags", "study", "resume", "hydra")
# Absolute paths, those that begin at home or beside the working folder, and addresses.
_PATH = re.compile(r"(?<![\w.])(?:[A-Za-z]:[\\/]|~\w*/|\.{0,2}/|\\\\)|\w://")
# Signs of several values; a colon also follows the letter of a drive.
_SEVERAL = re.compile(r"[,;\[\]{}\"']|:(?![\\/])")
_BETWEEN = re.compile(r"[\\/]+")


def public_command(words: Sequence[str], host: str | None = None) -> str | None:
    """The command line for a shell; None where a run was started by another program than Metriscope's own.

    A value that is a path becomes its last name. A word is left out that names the host, holds several values with a
    path among them, or says where results and data are.

    Args:
        words: of the record of a run.
        host: of the record.
    """
    program = _program(words[0]) if words else None
    if program is None:
        return None
    kept = [found for word in words[1:] if (found := _public(word)) is not None]
    if host:
        named = re.compile(rf"(?<!\w){re.escape(host)}(?!\w)")
        kept = [word for word in kept if not named.search(word)]
    return shown(shlex.join([*program, *kept]))


def name_of(path: str) -> str:
    """The last name of a path of any system."""
    return _BETWEEN.split(path.rstrip("/\\"))[-1]


def _program(path: str) -> list[str] | None:
    name = name_of(path)
    if name == "train.py":
        return ["python", "train.py"]
    if name in ("metriscope", "metriscope.exe"):
        return ["metriscope"]
    if name == "__main__.py" and PurePath(path).parent.name == "metriscope":
        return ["python", "-m", "metriscope"]
    return None


def _public(word: str) -> str | None:
    key, between, value = word.partition("=")
    if between and re.split(r"[./]", key.lstrip("+"))[0] in _LEFT_OUT:
        return None
    key, value = (f"{key}=", value) if between else ("", word)
    if not _PATH.search(value):
        return None if _PATH.search(key) else word
    single = _PATH.match(value) and not _SEVERAL.search(value)
    return f"{key}{name_of(value)}" if single and not _PATH.search(key) else None
