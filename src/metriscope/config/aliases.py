"""Keys by their earlier names, which hold for one release: what they say is said by the keys of today."""

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from metriscope.config.files import choices, section
from metriscope.config.plain import plain
from metriscope.errors import InputError

ALIASES = {
    "evaluation.recall_at": "evaluation.metrics.recall_at.k",
    "evaluation.precision_at": "evaluation.metrics.precision_at.k",
    "evaluation.mrr": "evaluation.metrics.mrr",
    "evaluation.knn_k": "evaluation.metrics.knn_accuracy.k",
    "evaluation.linear_probe": "evaluation.metrics.linear_probe_accuracy",
    "evaluation.clustering": "evaluation.metrics.clustering",
    "diagnostics.pair_weight_threshold": "diagnostics.greediness.pair_weight_threshold",
    # What stood below it now stands beside the shipped ones.
    "diagnostics.own": "diagnostics",
}
"""Earlier key -> key of today."""

_GONE = object()


def today(key: str) -> str | None:
    """What an earlier key is called now; None for any other key."""
    for old, new in ALIASES.items():
        if key == old or (old == "diagnostics.own" and key.startswith(f"{old}.")):
            return new + key[len(old) :]
    return None


def translated(config: Mapping[str, Any], given: Collection[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """A nested config in which earlier keys have become those of today, and the earlier keys that it had.

    Args:
        config: nested.
        given: keys of the command line, which win over those of files.

    Raises:
        InputError: an earlier key says something else than the key of today, which is no longer at its default.
    """
    found, used = dict(config), []
    for old, new in ALIASES.items():
        value = _get(found, old)
        if value is _GONE:
            continue
        used.append(old)
        found = _without(found, old)
        for key, own in _said(old, new, value):
            if old in given or not any(_overlap(key, other) for other in given):
                found = _put(_filled(found, key), key, own, old, wins=old in given)
    return found, used


@cache
def tell(old: str) -> None:
    """Say once what an earlier key is called today."""
    new = ALIASES[old] + (".<name>" if old == "diagnostics.own" else "")
    print(f"metriscope: {old} is now {new}; the earlier name goes with the next release", file=sys.stderr)


def _said(old: str, new: str, value: Any) -> Iterator[tuple[str, Any]]:
    if old == "diagnostics.own":
        yield from ((f"{new}.{name}", own) for name, own in (value or {}).items())
    elif value is not None:
        yield new, value


def _filled(config: dict[str, Any], key: str) -> dict[str, Any]:
    """A section of before, in which metrics that ship were not listed, with those of the shipped choice."""
    group = "evaluation"
    if not key.startswith(f"{group}.metrics."):
        return config
    shipped = _shipped(group)["default"]["metrics"]
    metrics = config[group].get("metrics") or {}
    if shipped.keys() & metrics.keys():
        return config
    return {**config, group: {**config[group], "metrics": {**shipped, **metrics}}}


def _overlap(key: str, other: str) -> bool:
    """Whether one of two keys is the other, or holds it; a whole group is a choice, which says nothing of one key."""
    return "." in other and (f"{key}.".startswith(f"{other}.") or other.startswith(f"{key}."))


def _put(config: Mapping[str, Any], key: str, value: Any, old: str, wins: bool) -> dict[str, Any]:
    """The config with this value; what has been switched off has no values."""
    parent, _, last = key.rpartition(".")
    before, above = _get(config, key), _get(config, parent)
    if isinstance(value, bool) and isinstance(before, Mapping) and value:
        return dict(config)
    if not wins and before not in (_GONE, value, *_defaults(key)):
        raise InputError(f"{old} and {key} are one and the same, and both are given: leave out {old}")
    return _set(config, parent.split("."), last, value) if isinstance(above, Mapping) else dict(config)


def _set(config: Mapping[str, Any], path: Sequence[str], last: str, value: Any) -> dict[str, Any]:
    if not path:
        return {**config, last: value}
    return {**config, path[0]: _set(config[path[0]], path[1:], last, value)}


def _without(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    group, _, last = key.partition(".")
    return {**config, group: {name: value for name, value in config[group].items() if name != last}}


def _get(config: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(config, Mapping) or part not in config:
            return _GONE
        config = config[part]
    return config


@cache
def _shipped(group: str) -> dict[str, dict[str, Any]]:
    return {name: plain(section(group, name), resolve=False) for name in choices(group)}


def _defaults(key: str) -> list[Any]:
    """What the shipped choices say of a key."""
    group, _, rest = key.partition(".")
    return [_get(one, rest) for one in _shipped(group).values()]
