"""Pairs from a list, in place of all pairs of a set."""

import csv
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.errors import InputError, nearest
from metriscope.evaluation.verification import scores
from metriscope.evaluation.verification.rates import ClassCounts
from metriscope.evaluation.verification.scores import counters, directions, places

COLUMNS = ("image_a", "image_b")
SAME = "same"
_ANSWERS = {"1": True, "same": True, "true": True, "0": False, "different": False, "false": False}
_BLOCK = 2**20
"""Numbers of either side that are looked at in float64 at a time."""


class PairList(NamedTuple):
    """P pairs of samples of a part of the data, by their positions in it."""

    first: Tensor
    """(P,) int64."""
    second: Tensor
    """(P,) int64."""
    same: Tensor | None
    """(P,) bool, whether they are of one class; None where their labels say so."""

    def among(self, positions: Tensor) -> "PairList":
        """The pairs by row of a set whose samples (N,) stand at these positions, ascending, without those that miss.

        Warns of how many miss.
        """
        places = [torch.searchsorted(positions, side).clamp(max=len(positions) - 1) for side in self[:2]]
        there = (positions[places[0]] == self.first) & (positions[places[1]] == self.second)
        if missing := len(there) - int(there.sum()):
            warnings.warn(
                f"{missing:,} of {len(there):,} listed pairs are left out of verification: the evaluation did not come "
                "to both of their images",
                stacklevel=2,
            )
        same = None if self.same is None else self.same[there]
        return PairList(places[0][there], places[1][there], same)


def read_pairs(path: Path, names: Sequence[str] | None, count: int, part: str = "test", key: str = "") -> PairList:
    """The pairs of a CSV file with the columns ``image_a``, ``image_b``, and ``same`` if the labels shall not say so.

    Args:
        path: of the file. ``same`` holds 1, same or true; or 0, different or false.
        names: the image files of the part, by position; None where it has none, and the file holds positions.
        count: the number of samples of the part.
        part: its name, for errors.
        key: of the config that names the file, for errors.

    Raises:
        InputError: the file cannot be read, lacks a column or pairs, or names an image that the part does not have.
    """
    where = f"{key}={path}" if key else str(path)
    known = {name: place for place, name in enumerate(names)} if names is not None else None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                there = ", ".join(map(str, reader.fieldnames or ())) or "none"
                raise InputError(
                    f"{where} lacks the column {' and '.join(missing)}: its first line has to name image_a, image_b "
                    f"and, where the labels shall not say so, same; it names {there}"
                )
            asked = SAME in (reader.fieldnames or ())
            found = [_pair(row, f"{where}, line {reader.line_num}", known, count, part, asked) for row in reader]
    except FileNotFoundError:
        raise InputError(f"{where}: there is no such file; give a CSV file with a pair of images a line") from None
    except IsADirectoryError:
        raise InputError(f"{where} is a folder; give a CSV file with a pair of images a line") from None
    except PermissionError:
        raise InputError(f"{where} must not be read: change its permissions") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where} cannot be read as a CSV file of pairs: {error}") from error
    if not found:
        raise InputError(f"{where} holds no pairs")
    first, second, same = (torch.tensor(column) for column in zip(*found, strict=True))
    return PairList(first, second, same if asked else None)


def _pair(
    row: Mapping[str, str | None], where: str, known: Mapping[str, int] | None, count: int, part: str, asked: bool
) -> tuple[int, int, bool]:
    first, second = (_position((row[name] or "").strip(), where, known, count, part) for name in COLUMNS)
    if first == second:
        raise InputError(f"{where} pairs {row[COLUMNS[0]]} with itself")
    if not asked:
        return first, second, False
    answer = (row[SAME] or "").strip().lower()
    if answer not in _ANSWERS:
        raise InputError(f"{where}: same is {answer!r}; it has to be 1, same or true, or 0, different or false")
    return first, second, _ANSWERS[answer]


def _position(name: str, where: str, known: Mapping[str, int] | None, count: int, part: str) -> int:
    if known is not None:
        if name in known:
            return known[name]
        raise InputError(f"{where}: the {part} part has no image {name!r}{nearest(name, known)}")
    if name.isdecimal() and int(name) < count:
        return int(name)
    raise InputError(
        f"{where}: {name!r} is no sample of the {part} part, which has no files: give positions from 0 to {count - 1}"
    )


class ListedPairs:
    """The pairs of a list.

    Args:
        embeddings: (N, D).
        labels: (N,) integers.
        pairs: by row of the embeddings.
    """

    def __init__(self, embeddings: Tensor, labels: Tensor, pairs: PairList) -> None:
        self.embeddings = embeddings
        self.labels, classes = torch.unique(labels, return_inverse=True)
        self.first, self.second = pairs.first.to(labels.device), pairs.second.to(labels.device)
        self._classes = classes[self.first], classes[self.second]
        self.same = self._classes[0] == self._classes[1] if pairs.same is None else pairs.same.to(labels.device)

    def _places(self) -> Tensor:
        """(P,) int64; O(P D) time."""
        found = []
        for these in torch.split(torch.arange(len(self.first)), max(1, _BLOCK // max(1, self.embeddings.shape[1]))):
            left, right = (directions(self.embeddings[side[these]]) for side in (self.first, self.second))
            found.append(places((left * scores.GRID * right).sum(1)))
        return torch.cat(found)

    def counted(self) -> tuple[Tensor, Tensor]:
        """The number of positive and of negative pairs by place, each (2 GRID + 2,) int64."""
        found, device = self._places(), self.embeddings.device
        positive, negative = counters(device), counters(device)
        positive.scatter_add_(0, found[self.same], torch.ones_like(found[self.same]))
        negative.scatter_add_(0, found[~self.same], torch.ones_like(found[~self.same]))
        return positive, negative

    def by_class(self, edges: Tensor) -> ClassCounts:
        """For each class the pairs that thresholds accept; a positive pair counts for the class of its first image.

        Args:
            edges: (T,) int64, places, ascending.
        """
        classes, steps = len(self.labels), len(edges)
        step = torch.searchsorted(edges, self._places(), right=True)

        def of(sides: tuple[Tensor, ...], these: Tensor) -> tuple[Tensor, Tensor]:
            shape = classes, steps + 1
            at = torch.cat([side[these] * (steps + 1) + step[these] for side in sides])
            count = torch.bincount(at, minlength=shape[0] * shape[1]).view(shape)
            return count.flip(1).cumsum(1).flip(1)[:, 1:], count.sum(1)

        positive, positives = of(self._classes[:1], self.same)
        negative, negatives = of(self._classes, ~self.same)
        return ClassCounts(self.labels, edges, positive, negative, positives, negatives)
