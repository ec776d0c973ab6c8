"""What an audit found, one entry for each group of examples, the gravest kinds first."""

import os
from typing import NamedTuple

import numpy as np

from metriscope.data.audit.audit import Audit, Distances
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
    """Of a group of near duplicates the closest pair that decides its kind comes first."""
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


def distances(audit: Audit, kind: str) -> Distances:
    """For every example the distance (N,) of the nearest one of a kind of near duplicates; infinite for none."""
    near = audit.near
    return {"near conflict": near.conflicting, "near leak": near.leaking}.get(kind, near.closest)


def names(audit: Audit) -> list[str]:
    """A name for every example: the path of a file from the folder of all, or part and position in memory."""
    files = [part.inputs.paths for part in audit.parts.values() if isinstance(part.inputs, ImageFiles)]
    if not files:
        return [f"{part}[{place}]" for part, examples in audit.parts.items() for place in range(len(examples))]
    paths = [os.path.abspath(path) for some in files for path in some]
    start = len(os.path.join(os.path.commonpath(set(map(os.path.dirname, paths))), ""))
    return [path[start:] for path in paths]


def _identical(audit: Audit, group: list[int]) -> Finding:
    spread = len({audit.place(place)[0] for place in group}) > 1
    kind = "leak" if spread else "copy"
    note = ("same bytes" if audit.same_bytes(group) else "same pixels in other bytes") if audit.from_files else ""
    if len({audit.labels[place] for place in group}) > 1:
        kind = "conflict"
        note = _and_spread(note, spread)
    return Finding(kind, group, note)


def _near(audit: Audit, group: list[int]) -> Finding:
    kinds = ("near conflict", "near leak", "near copy")
    kind = next(one for one in kinds if np.isfinite(distances(audit, one)[group]).any())
    deciding = distances(audit, kind)
    ordered = sorted(group, key=lambda place: (deciding[place], place))
    note = f"distance {deciding[ordered[0]]:.3f}"
    if kind == "near conflict":
        note = _and_spread(note, bool(np.isfinite(audit.near.leaking[group]).any()))
    return Finding(kind, ordered, note)


def _and_spread(note: str, spread: bool) -> str:
    return ", ".join([note] * bool(note) + ["also in two parts"] * spread)


def _closest(audit: Audit, finding: Finding) -> float:
    return float(distances(audit, finding.kind)[finding.positions[0]])
