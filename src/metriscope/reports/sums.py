"""Sums of losses in a few words, such as ``triplet+0.5*arcface``."""

from collections.abc import Mapping, Sequence
from typing import Any

from metriscope.annotations import said
from metriscope.config.plain import flatten


def short_sums(sums: Sequence[Any]) -> dict[str, str]:
    """Each value of ``loss.losses`` as text -> its losses by weight and name.

    Sums that are called alike so have in brackets what differs between them.

    >>> short_sums([[{"name": "triplet", "weight": 1.0}, {"name": "arcface", "weight": 0.5}]]).popitem()[1]
    'triplet+0.5*arcface'
    """
    found = {said(value): [flatten(one) for one in value] for value in sums if _is_sum(value)}
    alike: dict[str, list[str]] = {}
    for text, entries in found.items():
        alike.setdefault("+".join(map(_short, entries)), []).append(text)
    short: dict[str, str] = {}
    for texts in alike.values():
        columns = list(zip(*(found[text] for text in texts), strict=True))
        telling = [_telling(column) for column in columns]
        for text in texts:
            parts = zip(found[text], telling, strict=True)
            short[text] = "+".join(_short(entry) + _inner(entry, keys) for entry, keys in parts)
    return short


def _is_sum(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, Mapping) for one in value)


def _short(entry: Mapping[str, Any]) -> str:
    weight = entry.get("weight", 1)
    return f"{'' if weight == 1 else f'{said(weight)}*'}{said(entry.get('name'))}"


def _telling(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which entries of one place differ."""
    keys = dict.fromkeys(key for entry in entries for key in entry)
    return [key for key in keys if len({said(entry.get(key)) for entry in entries}) > 1]


def _inner(entry: Mapping[str, Any], keys: Sequence[str]) -> str:
    return f"({', '.join(f'{key}={said(entry.get(key))}' for key in keys)})" if keys else ""
