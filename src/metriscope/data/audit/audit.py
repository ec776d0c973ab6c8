"""An audit of a data set: what of its examples is copied, contradicts itself, leaks between parts or is broken."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import torch
from torch import Tensor

from metriscope.data.audit.ceiling import Ceiling, ceiling
from metriscope.data.audit.near import Components, Positions, close_pairs, groups
from metriscope.data.audit.reading import Seen, full_digests, read
from metriscope.data.audit.signature import vector_signatures
from metriscope.data.examples import Examples
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.splits import Splits

Distances = np.ndarray[tuple[int], np.dtype[np.float64]]

NEAR = 0.15
"""The default distance of near duplicates. Of the photographs of Stanford Cars every pair below it shows the same
photograph, and pairs of different cars in the same studio begin at 0.18."""
_LIKELY = 0.1  # reduced in its file or after decoding, the same image differs by less than half of that


@dataclass(frozen=True, eq=False)
class Near:
    """Near duplicates, which are not identical.

    Attributes:
        pairs: how many pairs, by two parts; ``conflicts`` those with different labels.
        groups: positions of the examples that near pairs connect, with their identical ones.
        closest: (N,) distance of the nearest one; infinite for none.
        conflicting, leaking: (N,) the same of those with another label, and of those in another part.
    """

    pairs: Mapping[tuple[str, str], int]
    conflicts: Mapping[tuple[str, str], int]
    groups: Sequence[Sequence[int]]
    closest: Distances
    conflicting: Distances
    leaking: Distances


@dataclass(frozen=True, eq=False)
class Audit:
    """What an audit found. Positions count through the parts, in their order.

    Attributes:
        parts: the examples by part.
        queries: of the test part; see :class:`Splits`.
        limit: the distance up to which two examples are near duplicates; 0: they were not looked for.
        labels: the class name of every example.
        stored: ids (N,), equal for equal files; for data in memory those of ``images``.
        images: ids (N,), equal for identical images or vectors.
        identical: positions of the examples of which there are two or more.
        near: near duplicates.
        uniform: positions of images of one colour throughout.
        unreadable: why an example cannot be read, by position.
        alone: classes by part of which a query finds nothing.
        ceilings: by evaluated part.
    """

    parts: Mapping[str, Examples]
    queries: Tensor | None
    limit: float
    labels: Sequence[str]
    stored: Positions
    images: Positions
    identical: Sequence[Sequence[int]]
    near: Near
    uniform: Sequence[int]
    unreadable: Mapping[int, str]
    alone: Mapping[str, Sequence[str]]
    ceilings: Mapping[str, Ceiling]

    @property
    def noun(self) -> str:
        """What the examples are."""
        return "images" if _are_images(self.parts["train"]) else "vectors"

    @property
    def from_files(self) -> bool:
        """Whether the examples are image files."""
        return isinstance(self.parts["train"].inputs, ImageFiles)

    def same_bytes(self, group: Sequence[int]) -> bool:
        """Whether all of a group are copies of one file."""
        return len(set(self.stored[list(group)].tolist())) == 1

    def place(self, position: int) -> tuple[str, int]:
        """The part of an example, and its position there."""
        for part, examples in self.parts.items():
            if position < len(examples):
                return part, position
            position -= len(examples)
        raise IndexError(position)


def audit(splits: Splits, limit: float = NEAR) -> Audit:
    """Audit the parts of a data set; reads every example once, and likely copies of image files a second time.

    Args:
        splits: the parts.
        limit: the distance of signatures up to which two examples are near duplicates; 0 looks for none.
    """
    everything = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    parts = {name: part for name, part in everything.items() if part is not None}
    seen = [read(part) for part in parts.values()]
    signatures = torch.cat([one.signatures for one in seen])
    if not _are_images(splits.train):
        signatures = vector_signatures(signatures)
    faults: dict[int, str] = {}
    start = 0
    for part in seen:
        faults |= {start + place: line for place, line in part.faults.items()}
        start += len(part.stored)
    signatures[list(faults)] = torch.nan
    images, uniform, likely = _identities(parts, seen, signatures, faults, max(limit, _LIKELY))
    part_of = np.repeat(np.arange(len(parts)), [len(part) for part in parts.values()])
    labels = [part.classes[label] for part in parts.values() for label in part.labels.tolist()]
    ends = np.cumsum([0, *map(len, parts.values())])
    ceilings = {
        name: ceiling(parts[name].labels, torch.from_numpy(images[ends[place] : ends[place + 1]]), asking)
        for place, name in enumerate(parts)
        for asking in [splits.queries if name == "test" else None]
        if name != "train"
    }
    return Audit(
        parts,
        splits.queries,
        limit,
        labels,
        _ids([key for part in seen for key in part.stored], faults),
        images,
        groups(images),
        _near(signatures, likely, limit, images, part_of, np.unique(labels, return_inverse=True)[1], list(parts)),
        uniform,
        faults,
        {name: _alone(parts[name], splits.queries if name == "test" else None) for name in ceilings},
        ceilings,
    )


def _are_images(part: Examples) -> bool:
    return isinstance(part.inputs, ImageFiles) or len(part.shape) == 3


def _identities(
    parts: Mapping[str, Examples], seen: Sequence[Seen], signatures: Tensor, faults: dict[int, str], limit: float
) -> tuple[Positions, list[int], Positions]:
    """Ids (N,), equal for identical examples, and the positions of those of one colour; adds to ``faults``.

    Image files are decoded in full where another has a signature within ``limit``, and where they may be of one colour:
    these have no signature. The last result are the positions that were, or all of data in memory.
    """
    keys: list[bytes] = [key for part in seen for key in part.pixels or part.stored]
    uniform = [flag for part in seen for flag in part.uniform]
    files = [
        (part.inputs, position)
        for part in parts.values()
        if isinstance(part.inputs, ImageFiles)
        for position in range(len(part.inputs))
    ]
    chosen = np.arange(len(keys))
    if files:
        likely = np.array(uniform)
        for i, j, _ in close_pairs(signatures, limit):
            likely[i.numpy()] = likely[j.numpy()] = True
        likely[list(faults)] = False
        chosen = np.flatnonzero(likely)
        for place, found in zip(
            chosen.tolist(), full_digests([files[place][0].take([files[place][1]]) for place in chosen]), strict=True
        ):
            if isinstance(found, str):
                faults[place] = found
                signatures[place] = torch.nan
            else:
                keys[place], uniform[place] = found
    return _ids(keys, faults), [place for place, flag in enumerate(uniform) if flag and place not in faults], chosen


def _ids(keys: Sequence[bytes], faults: Mapping[int, str]) -> Positions:
    """Equal ids (N,) for equal keys; those of examples that cannot be read occur once."""
    first: dict[bytes, int] = {}
    return np.array([i if i in faults else first.setdefault(key, i) for i, key in enumerate(keys)], dtype=np.int64)


def _near(
    signatures: Tensor,
    among: Positions,
    limit: float,
    images: Positions,
    part_of: Positions,
    labels: Positions,
    names: Sequence[str],
) -> Near:
    size, parts = len(images), len(names)
    counts = np.zeros((2, parts * parts), dtype=np.int64)
    closest, conflicting, leaking = (np.full(size, np.inf) for _ in range(3))
    components = Components(size)
    for i, j, distances in close_pairs(signatures[torch.from_numpy(among)], limit) if limit > 0 else ():
        a, b, distance = among[i.numpy()], among[j.numpy()], distances.numpy()
        different = images[a] != images[b]
        a, b, distance = a[different], b[different], distance[different]
        conflict, leak = labels[a] != labels[b], part_of[a] != part_of[b]
        for kind, chosen in enumerate((slice(None), conflict)):
            counts[kind] += np.bincount((part_of[a] * parts + part_of[b])[chosen], minlength=parts * parts)
        for ends in (a, b):
            np.minimum.at(closest, ends, distance)
            np.minimum.at(conflicting, ends[conflict], distance[conflict])
            np.minimum.at(leaking, ends[leak], distance[leak])
        components.connect(a, b)
    components.connect(np.arange(size), images)  # an id is the first position with these pixels
    found = [group for group in groups(components.found()) if np.isfinite(closest[group]).any()]
    # A position of an earlier part is the smaller one of a pair.
    both = list(combinations_with_replacement(range(parts), 2))
    pairs, conflicts = ({(names[a], names[b]): int(row[a * parts + b]) for a, b in both} for row in counts)
    return Near(pairs, conflicts, found, closest, conflicting, leaking)


def _alone(part: Examples, queries: Tensor | None) -> list[str]:
    """The classes of which a query finds no other image."""
    asking, asked = (part.labels, part.labels) if queries is None else (part.labels[queries], part.labels[~queries])
    there = torch.bincount(asked, minlength=part.num_classes) > int(queries is None)
    return [part.classes[label] for label in torch.unique(asking).tolist() if not there[label]]
