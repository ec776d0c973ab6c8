"""Parts that a config names in a mapping: ``true`` is one that ships, with its defaults, ``false`` is none."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from yaml import YAMLError

from metriscope.annotations import said
from metriscope.config.aliases import today
from metriscope.config.files import CONFIG_DIR, section
from metriscope.config.plain import plain
from metriscope.errors import InputError, nearest
from metriscope.evaluation.shipped import SHIPPED

GROUPS = ("evaluation", "diagnostics")
"""The groups that have such a mapping."""

_MAPPINGS = ("evaluation.metrics", "diagnostics", "callbacks")


def switched(config: Mapping[str, Any]) -> dict[str, Any]:
    """A nested config in which no part is just true or false.

    Raises:
        InputError: ``true`` where nothing of the name ships, or another word than true or false.
    """
    found = dict(config)
    if isinstance(found.get("diagnostics"), Mapping):
        parts = {key: value for key, value in found["diagnostics"].items() if key != "name"}
        found["diagnostics"] = {**found["diagnostics"], **_parts(parts, "diagnostics")}
    evaluation = found.get("evaluation")
    if isinstance(evaluation, Mapping) and evaluation.get("metrics") is not None:
        found["evaluation"] = {**evaluation, "metrics": _parts(evaluation["metrics"], "evaluation.metrics")}
    return found


def _parts(sections: Any, where: str) -> dict[str, Any]:
    if not isinstance(sections, Mapping):
        raise InputError(f"{where}={said(sections)}: it has to be a mapping of parts by name, or null for none")
    return {str(key): _part(str(key), value, where) for key, value in sections.items()}


def _part(key: str, value: Any, where: str) -> Any:
    shipped = _shipped(where)
    if isinstance(value, Mapping) and value and key in shipped and "_target_" not in value:
        return {"_target_": shipped[key]["_target_"], **value}
    if value is True and key in shipped:
        return dict(shipped[key])
    if value is True:
        raise InputError(
            f"{where}.{key}=true: none of this name ships{nearest(key, shipped)} There are: {', '.join(shipped)}"
        )
    if key in shipped and value is not None and not isinstance(value, bool | Mapping):
        raise InputError(f"{where}.{key}={said(value)}: it has to be one of true, false, or a mapping with a _target_")
    return None if value is False else value


@cache
def _shipped(where: str) -> Mapping[str, Mapping[str, Any]]:
    """Name -> section of what ships, switched off or not."""
    group, _, below = where.partition(".")
    sections = plain(section(group, "default"), resolve=False)
    sections = sections[below] if below else sections
    found = {key: value for key, value in sections.items() if isinstance(value, Mapping)}
    if where == "evaluation.metrics":
        found |= {k: {"_target_": f"{p.__module__}.{p.__qualname__}"} for k, p in SHIPPED.items() if k not in found}
    return found


def check_names(config: Mapping[str, Any], further: Sequence[Path] = ()) -> None:
    """Refuse a part that is switched off under a name that no choice has: the one that was meant would stay on.

    Args:
        config: nested, with false where it was given.
        further: folders of further choices.

    Raises:
        InputError: with the nearest name.
    """
    for where in _MAPPINGS:
        sections = _below(config, where)
        off = [key for key, value in sections.items() if value is None or value is False or value == {}]
        for key in off:
            if today(f"{where}.{key}") or (where != "callbacks" and key in _shipped(where)):
                continue
            known = {name for folder in (CONFIG_DIR, *further) for name in _named(where, folder)}
            known |= set() if where == "callbacks" else set(_shipped(where))
            # A null under a name of its own may be one value of a sweep.
            if key not in known and (sections[key] is False or nearest(key, known) != "."):
                raise InputError(
                    f"{where}.{key}={said(sections[key])}: there is nothing of this name to switch off"
                    f"{nearest(key, known)} There are: {', '.join(sorted(known))}"
                )


@cache
def _named(where: str, folder: Path) -> frozenset[str]:
    """The names of the sections that files of a folder have in a mapping."""
    return frozenset(name for path in folder.rglob("*.yaml") for name in _named_in(path, where, folder))


def _named_in(path: Path, where: str, folder: Path) -> Iterator[str]:
    group, _, below = where.partition(".")
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except YAMLError:
        return  # it is refused where it is chosen
    if not isinstance(content, Mapping):
        return
    places: list[Mapping[Any, Any]] = [_below(content, where)]
    if path.relative_to(folder).parts[0] == group:
        places.append(_below(content, below) if below else content)
    yield from (str(key) for place in places for key, value in place.items() if isinstance(value, Mapping))


def _below(config: Any, where: str) -> Mapping[str, Any]:
    for part in where.split("."):
        config = config.get(part) if isinstance(config, Mapping) else None
    return config if isinstance(config, Mapping) else {}
