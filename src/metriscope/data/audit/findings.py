"""What an audit found, one entry for each group of examples, the gravest kinds first."""

import os
from typing import NamedTuple

from metriscope.data.audit.audit import Audit
from metriscope.data.inputs.images import ImageFiles

KINDS = {
    "conflict": "identical, with different labels",
    "leak": "identical, in two parts",
    "copy": "identical, with one label and in one part",
    "near conflict": "near duplicates with different labels",
    "near leak": "near duplicates in two parts",
    "near copy": "near duplicates with one label and in one part",
    "one colour": "one colour throughout",
    "unreadable": "cannot be read",
    "alone": "classes of which a query finds nothing",
}
"""Titles by kind; a group is of the first kind that fits it."""
SERIOUS = ("conflict", "leak", "near conflict", "near leak", "unreadable")
"""What a data set should be free of."""


class Finding(NamedTuple):
    """A group of examples of which something is to be said."""

    kind: str
    positions: list[int]
    """Of a group of near duplicates those that decide its kind come first, and the closest before others."""
    note: str


def findings(audit: Audit) -> list[Finding]:
    """All findings, in the order of ``KINDS``; groups of near duplicates with the closest pair first."""
    found = [_identical(audit, list(group)) for group in audit.identical]
    found += sorted((_near(audit, list(group)) for group in audit.near.groups), key=lambda one: _closest(audit, one))
    found += [Finding("one colour", [place], "") for place in audit.uniform]
    found += [Finding("unreadable", [place], line) for place, line in sorted(audit.unreadable.items())]
    start = 0
    for part, examples in audit.parts.items():
        for name in audit.alone.get(part, ()):
            of_class = (examples.labels == examples.classes.index(name)).nonzero().squeeze(1) + start
            found.append(Finding("alone", of_class.tolist(), ""))
        start += len(examples)
    order = list(KINDS)
    return sorted(found, key=lambda one: order.index(one.kind))


def names(audit: Audit) -> list[str]:
    """A name for every example: the path of a file from the folder of all, or part and position in memory."""
    files = [part.inputs.paths for part in audit.parts.values() if isinstance(part.inputs, ImageFiles)]
    if not files:
        return [f"{part}[{place}]" for part, examples in audit.parts.items() for place in range(len(examples))]
    paths = [os.path.abspath(path) for some in files for path in some]
    start = len(os.path.join(os.path.commonpath(set(map(os.path.dirname, paths))), ""))
    return [path[start:] for path in paths]


def _identical(audit: Audit, group: list[int]) -> Finding:
    kind = "copy"
    if len({audit.labels[place] for place in group}) > 1:
        kind = "conflict"
    elif len({audit.place(place)[0] for place in group}) > 1:
        kind = "leak"
    if not audit.from_files:
        return Finding(kind, group, "")
    return Finding(kind, group, "same bytes" if audit.same_bytes(group) else "same pixels in other bytes")


def _near(audit: Audit, group: list[int]) -> Finding:
    near = audit.near
    deciding, kind = near.conflicting, "near conflict"
    if not near.conflicting[group].any():
        deciding, kind = near.leaking, "near leak" if near.leaking[group].any() else "near copy"
    ordered = sorted(group, key=lambda place: (not deciding[place], near.closest[place], place))
    return Finding(kind, ordered, f"distance {near.closest[group].min():.3f}")


def _closest(audit: Audit, finding: Finding) -> float:
    return float(audit.near.closest[finding.positions].min())
