"""What an audit found in numbers: within each part, and between each two."""

from collections.abc import Iterable, Sequence
from itertools import combinations

from metriscope.data.audit.audit import Audit

Column = tuple[str, str]
"""Two parts, or twice the same one for what is within it."""

TITLES = {
    "examples": "{noun}",
    "classes": "classes",
    "unreadable": "cannot be read",
    "one_colour": "one colour throughout",
    "identical": "groups of identical {noun}",
    "identical_bytes": "... of the same bytes",
    "identical_conflicts": "... with different labels",
    "near": "pairs of near duplicates",
    "near_conflicts": "... with different labels",
    "near_groups": "groups of near duplicates",
    "alone": "classes of which a query finds nothing",
}


def columns(audit: Audit) -> list[Column]:
    """Every part by itself, then every two."""
    return [(part, part) for part in audit.parts] + list(combinations(audit.parts, 2))


def counts(audit: Audit) -> dict[str, dict[Column, int]]:
    """Numbers by row, a key of ``TITLES``, and column; only those that there can be.

    A group counts in every column where it has two examples: two of one part, or one of each of two parts.
    """
    alone = [(part, part) for part in audit.parts]
    found: dict[str, dict[Column, int]] = {
        "examples": {(part, part): len(examples) for part, examples in audit.parts.items()},
        "classes": {(part, part): int((examples.counts > 0).sum()) for part, examples in audit.parts.items()},
        "unreadable": _by_part(audit, alone, audit.unreadable),
    }
    if audit.noun == "images":
        found["one_colour"] = _by_part(audit, alone, audit.uniform)
    every = columns(audit)
    found["identical"] = {column: sum(_two(audit, group, column) for group in audit.identical) for column in every}
    if audit.from_files:
        same = [group for group in audit.identical if audit.same_bytes(group)]
        found["identical_bytes"] = {column: sum(_two(audit, group, column) for group in same) for column in every}
    found["identical_conflicts"] = {
        column: sum(_two(audit, group, column, differing=True) for group in audit.identical) for column in every
    }
    if audit.limit > 0:
        found["near"], found["near_conflicts"] = dict(audit.near.pairs), dict(audit.near.conflicts)
        found["near_groups"] = {
            column: sum(_two(audit, group, column) for group in audit.near.groups) for column in every
        }
    found["alone"] = {(part, part): len(classes) for part, classes in audit.alone.items()}
    return found


def _by_part(audit: Audit, every: Sequence[Column], positions: Iterable[int]) -> dict[Column, int]:
    parts = [audit.place(place)[0] for place in positions]
    return {column: parts.count(column[0]) for column in every}


def _two(audit: Audit, group: Sequence[int], column: Column, differing: bool = False) -> bool:
    """Whether a group has two examples in a column, with different labels where these are asked for."""
    labels: dict[str, list[str]] = {part: [] for part in audit.parts}
    for place in group:
        labels[audit.place(place)[0]].append(audit.labels[place])
    first, second = (labels[part] for part in column)
    if column[0] == column[1]:
        return len(set(first)) > 1 if differing else len(first) > 1
    return bool(first and second) and (not differing or len({*first, *second}) > 1)
