"""Splitting a data set into train, validation and test parts under a protocol."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from metriscope.data.examples import Examples, Source
from metriscope.data.fingerprint import fingerprint
from metriscope.data.inputs.images import ImageFiles
from metriscope.errors import InputError
from metriscope.seeds import generator

PROTOCOLS = ("closed_set", "class_disjoint")
_DEFAULT_VALIDATION = {"closed_set": 0.1, "class_disjoint": 0.25}
_ROUNDING = 1e-9  # 1 / 0.1 and 30 * 0.1 must not be rounded down below 10 and 3


@dataclass(frozen=True)
class Splits:
    """The train, validation and test parts of a data set.

    Under ``closed_set`` the three parts share their class ids. Under ``class_disjoint`` no class is in two
    parts, and each part has its own ids 0..C-1.

    ``queries`` is bool (N,) over ``test``: True for queries, False for the gallery; None for leave-one-out.
    """

    train: Examples
    validation: Examples | None
    test: Examples
    protocol: str
    queries: Tensor | None = None

    def said(self) -> str:
        """How many images of how many classes each part has, in words."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return "; ".join(
            f"{name}: {len(part):,} {'images' if len(part.shape) == 3 else 'examples'}, {part.num_classes:,} classes"
            for name, part in parts.items()
            if part is not None
        )

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """See :func:`metriscope.data.fingerprint.fingerprint`."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return fingerprint({name: part for name, part in parts.items() if part is not None}, self.queries)


def split(source: Source, protocol: str, fold: int = 0, validation: float | None = None) -> Splits:
    """Splits a data set; a fixed function of its arguments, so that all seeds of a study see the same parts.

    Args:
        source: the data set as it is distributed.
        protocol: ``closed_set`` holds out a stratified share of the train half; ``class_disjoint`` pools both
            halves, trains on the first half of the classes and tests on the last, and holds out a share of
            the train classes, as [MLRC] arXiv:2003.08505 does. Halves that already share no class are kept.
            A kept test half keeps its queries and gallery; pooled examples are all both.
        fold: number of the share that is held out; folds are disjoint.
        validation: the share that is held out, 0 for none; None for the protocol's default: 0.1 of the images or
            0.25 of the classes.

    Raises:
        InputError: the protocol is unknown, the share or fold is out of range, or there are too few classes.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"dataset.protocol={protocol}: choose one of {', '.join(PROTOCOLS)}")
    share = _DEFAULT_VALIDATION[protocol] if validation is None else float(validation)
    if not 0 <= share < 1:
        raise InputError(f"dataset.validation={share}: the share held out of training must be at least 0 and below 1")
    if fold < 0:
        raise InputError(f"dataset.fold={fold}: folds count from 0")
    if protocol == "closed_set":
        train, test, queries = _closed_set(source)
        hold_out = _hold_out_images
    else:
        train, test, queries = _class_disjoint(source)
        hold_out = _hold_out_classes
    rest, held_out = (train, None) if share == 0 else hold_out(train, fold, share)
    return Splits(rest, held_out, test, protocol, queries)


def stratified(labels: Tensor, share: float, fold: int = 0) -> tuple[Tensor, Tensor]:
    """Two sets of positions, (rest, part): ``part`` has ``share`` of every class.

    The order within a class is shuffled once, by a fixed seed, and fold f is the f-th segment of it. ``part``
    never takes all examples of a class. Both results are in ascending order.
    """
    shuffled = torch.randperm(len(labels), generator=generator(0, "stratified"))
    by_class = shuffled[torch.argsort(labels[shuffled], stable=True)]
    counts = torch.bincount(labels)
    place = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[labels[by_class]]
    size = counts.double() * share
    low = (size * fold + _ROUNDING).floor()
    high = (size * (fold + 1) + _ROUNDING).floor()
    high = torch.where((low == 0) & (high >= counts), counts - 1, high)
    inside = (place >= low[labels[by_class]]) & (place < high[labels[by_class]])
    return by_class[~inside].sort().values, by_class[inside].sort().values


def _closed_set(source: Source) -> tuple[Examples, Examples, Tensor | None]:
    train, test, queries = source.train, source.test, source.queries
    if test is None or (source.test_share is not None and _by_class(train, test)):
        assert source.test_share is not None
        whole = train if test is None else _pool(train, test)
        rest, part = stratified(whole.labels, source.test_share)
        train, test, queries = whole.take(rest), whole.take(part), None
    train, test = train.compact(), test.compact()
    if train.num_classes < 2:
        raise InputError(f"the train half has {train.num_classes} class: metric learning needs at least 2")
    if unknown := sorted(set(test.classes) - set(train.classes)):
        raise InputError(
            f"dataset.protocol=closed_set, but {len(unknown)} test classes are not in the train half "
            f"(such as {unknown[0]!r}): use dataset.protocol=class_disjoint"
        )
    return train, _renamed(test, train.classes), queries


def _hold_out_images(train: Examples, fold: int, share: float) -> tuple[Examples, Examples]:
    folds = math.floor(1 / share + _ROUNDING)
    if fold >= folds:
        raise InputError(f"dataset.fold={fold}: dataset.validation={share:g} gives folds 0..{folds - 1}")
    rest, part = stratified(train.labels, share, fold)
    if len(part) == 0:
        raise InputError(
            f"dataset.validation={share:g} of {len(train)} images in {train.num_classes} classes is no image "
            f"in fold {fold}: raise dataset.validation, or set it to 0 to train without"
        )
    return train.take(rest), train.take(part)


def _class_disjoint(source: Source) -> tuple[Examples, Examples, Tensor | None]:
    train, test, queries = source.train, source.test, source.queries
    if test is None or not _by_class(train, test):
        whole = train.compact() if test is None else _pool(train, test)
        half = (whole.num_classes + 1) // 2
        train, test, queries = _classes(whole, 0, half), _classes(whole, half, whole.num_classes), None
    train, test = train.compact(), test.compact()
    if min(train.num_classes, test.num_classes) < 2:
        raise InputError(
            f"dataset.protocol=class_disjoint leaves {train.num_classes} classes to train and "
            f"{test.num_classes} to test: both need at least 2, use dataset.protocol=closed_set"
        )
    return train, test, queries


def _hold_out_classes(train: Examples, fold: int, share: float) -> tuple[Examples, Examples]:
    size = max(2.0, train.num_classes * share)  # with a single class retrieval is always right
    folds = math.floor(train.num_classes / size + _ROUNDING)
    low, high = (math.floor(size * edge + _ROUNDING) for edge in (fold, fold + 1))
    if train.num_classes - (high - low) < 2:
        raise InputError(
            f"dataset.validation={share:g} holds out {high - low} of {train.num_classes} train classes "
            "and leaves fewer than 2: lower it (2 are held out at least), or set it to 0"
        )
    if fold >= folds:
        raise InputError(
            f"dataset.fold={fold}: dataset.validation={share:g} of {train.num_classes} train classes gives "
            f"folds 0..{folds - 1}"
        )
    held_out = _classes(train, low, high)
    rest = train.take(((train.labels < low) | (train.labels >= high)).nonzero().squeeze(1)).compact()
    return rest, held_out


def _by_class(train: Examples, test: Examples) -> bool:
    """Whether the two halves share no class."""
    return set(train.classes).isdisjoint(test.classes)


def _classes(examples: Examples, low: int, high: int) -> Examples:
    inside = (examples.labels >= low) & (examples.labels < high)
    return examples.take(inside.nonzero().squeeze(1)).compact()


def _renamed(examples: Examples, classes: tuple[str, ...]) -> Examples:
    ids = {name: position for position, name in enumerate(classes)}
    table = torch.tensor([ids[name] for name in examples.classes], dtype=torch.int64)
    return replace(examples, labels=table[examples.labels], classes=classes)


def _pool(train: Examples, test: Examples) -> Examples:
    if isinstance(train.inputs, Tensor) and train.shape != test.shape:
        raise InputError(f"train examples are {train.shape}, test examples {test.shape}: they cannot be pooled")
    known = set(train.classes)
    classes = train.classes + tuple(name for name in test.classes if name not in known)
    labels = torch.cat([train.labels, _renamed(test, classes).labels])
    if isinstance(train.inputs, Tensor) and isinstance(test.inputs, Tensor):
        return Examples(torch.cat([train.inputs, test.inputs]), labels, classes).compact()
    assert isinstance(train.inputs, ImageFiles)
    assert isinstance(test.inputs, ImageFiles)
    files = replace(train.inputs, paths=train.inputs.paths + test.inputs.paths)
    return Examples(files, labels, classes).compact()
