"""Reading ``config.yaml`` of a run folder, which others may have written. Imports no torch."""

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from yaml import YAMLError

from metriscope.config.completing import in_words_of_today
from metriscope.errors import InputError
from metriscope.escapes import cleaned
from metriscope.reading import bounded, parse_yaml, read_bytes
from metriscope.run.identity import located

CUT_OFF = "is missing: the run never started or was cut off"
# A line that begins with a key begins a section of the file.
_SECTION = re.compile(r"^(?=[^\s#-])", re.MULTILINE)
# More sections than any config has: then the file is parsed as a whole.
_SECTIONS = 100
# Some hundred times the size of a config.
_BYTES = 2**18


def read_config(folder: Path) -> dict[str, Any]:
    """The nested config of a run of any version, with the keys of today and without control characters.

    Raises:
        InputError: the file is missing or no config of a run.
    """
    path = folder / "config.yaml"
    try:
        config = of_today(located(_parse(read_bytes(path, _BYTES).decode())))
        if "seed" not in config:
            raise ValueError("cut off, or no config of a run")
    except FileNotFoundError:
        raise InputError(f"{path} {CUT_OFF}") from None
    except (OSError, ValueError, YAMLError) as error:
        raise InputError(f"{path} is not readable ({' '.join(str(error).split())[:160]})") from error
    return config


def of_today(config: Mapping[str, Any]) -> dict[str, Any]:
    """The nested config of a run of any version with the keys of today and without control characters."""
    try:
        said = in_words_of_today(config)[0]
    except InputError:  # only what it says in full is left as it is
        said = dict(config)
    return dict(cleaned(said))


def _parse(text: str) -> dict[str, Any]:
    """The mapping in a YAML text, parsed by section and cached: most sections of a study's configs are equal."""
    if re.search(r"[:-] [&*]", text):  # an anchor may tie sections together
        return dict(_parse_section(text))
    sections = _SECTION.split(text)
    if len(sections) > _SECTIONS:
        return dict(_parse_section(text))
    config: dict[str, Any] = {}
    for section in sections:
        config.update(_parse_section(section))
    return dict(bounded(config))


@lru_cache(maxsize=1024)
def _parse_section(text: str) -> Mapping[str, Any]:
    content = parse_yaml(text) if text.strip() else {}
    if not isinstance(content, dict):
        raise ValueError("not a mapping")
    return content
