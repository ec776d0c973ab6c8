"""What the shipped configs say of every key: its defaults, by which its type is judged. Imports no torch."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from metriscope.config.files import CONFIG_DIR, choices, section
from metriscope.config.plain import flatten, plain

# Groups that choose further groups, and Hydra's own.
_WITHOUT_KEYS = ("experiment", "hydra")

BY_NAME = ("callbacks.", "diagnostics.", "evaluation.metrics.")
"""Mappings whose keys are names of the user's choice."""


@cache
def groups() -> tuple[str, ...]:
    """The groups whose choices have keys below the group's own name."""
    return tuple(sorted(path.name for path in CONFIG_DIR.iterdir() if path.is_dir() and path.name not in _WITHOUT_KEYS))


@cache
def of_group(group: str) -> Mapping[str, tuple[Any, ...]]:
    """Dotted key -> its defaults, one for each shipped choice of the group that has it."""
    found: dict[str, list[Any]] = {}
    for name in choices(group):
        for key, value in flatten(plain(section(group, name), resolve=False)).items():
            found.setdefault(f"{group}.{key}", []).append(value)
    return {key: tuple(values) for key, values in found.items()}


@cache
def of_top_level() -> Mapping[str, tuple[Any, ...]]:
    """The same for the keys outside of groups, such as ``seed`` and ``paths.data_dir``."""
    content = OmegaConf.load(CONFIG_DIR / "train.yaml")
    assert isinstance(content, DictConfig)
    own = {key: value for key, value in plain(content, resolve=False).items() if key not in ("defaults", "hydra")}
    return {key: (value,) for key, value in flatten(own).items()}


@cache
def of_all() -> Mapping[str, tuple[Any, ...]]:
    """The same for every key there is."""
    found = dict(of_top_level())
    for group in groups():
        found.update(of_group(group))
    return found


@cache
def shared(group: str) -> Mapping[str, Any]:
    """Key -> value of what every shipped choice of a group says alike: what a choice of one's own may leave out."""
    number = len(choices(group))
    return {
        key.removeprefix(f"{group}."): values[0]
        for key, values in of_group(group).items()
        if len(values) == number and all(value == values[0] for value in values) and not _open(values[0])
    }


def _open(value: Any) -> bool:
    return isinstance(value, str) and ("${" in value or value == "???")
