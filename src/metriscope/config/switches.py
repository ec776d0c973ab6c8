"""Parts that a config names in a mapping: ``true`` is one that ships, with its defaults, ``false`` is none."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from metriscope.annotations import said
from metriscope.config.files import section
from metriscope.config.plain import plain
from metriscope.errors import InputError, nearest
from metriscope.evaluation.shipped import SHIPPED

GROUPS = ("evaluation", "diagnostics")
"""The groups that have such a mapping."""


def switched(config: Mapping[str, Any]) -> dict[str, Any]:
    """A nested config in which no part is just true or false.

    Raises:
        InputError: ``true`` where nothing of the name ships, or another word than true or false.
    """
    found = dict(config)
    if isinstance(found.get("diagnostics"), Mapping):
        found["diagnostics"] = _parts(found["diagnostics"], "diagnostics")
    evaluation = found.get("evaluation")
    if isinstance(evaluation, Mapping) and isinstance(evaluation.get("metrics"), Mapping):
        found["evaluation"] = {**evaluation, "metrics": _parts(evaluation["metrics"], "evaluation.metrics")}
    return found


def _parts(sections: Mapping[str, Any], where: str) -> dict[str, Any]:
    return {key: value if key == "name" else _part(str(key), value, where) for key, value in sections.items()}


def _part(key: str, value: Any, where: str) -> Any:
    shipped = _shipped(where)
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
