"""Splitting a data set into train, validation and test parts under a protocol."""

import logging
import math
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from metriscope.data.examples import Examples, Source
from metriscope.data.fingerprint import fingerprint, relative_names
from metriscope.data.inputs.images import ImageFiles
from metriscope.data.inputs.paired import PairedVectors
from metriscope.data.label_noise import LabelNoise
from metriscope.data.label_sets import LabelSets
from metriscope.errors import InputError
from metriscope.seeds import generator

log = logging.getLogger(__name__)

PROTOCOLS = ("closed_set", "class_disjoint")
_DEFAULT_VALIDATION = {"closed_set": 0.1, "class_disjoint": 0.25}
_NOUNS = {2: "pairs", 3: "images"}
_ROUNDING = 1e-9  # 1 / 0.1 and 30 * 0.1 must not be rounded down below 10 and 3


@dataclass(frozen=True)
class Splits:
    """The train, validation and test parts of a data set.

    Under ``closed_set`` the three parts share their class ids. Under ``class_disjoint`` no class is in two
    parts, and each part has its own ids 0..C-1.

    ``queries`` is bool (N,) over ``test``: True for queries, False for the gallery; None for leave-one-out.
    ``incomplete`` says in one sentence what is missing of a published data set.
    ``noise`` holds the labels to train on where some are wrong; those of ``train`` are always the true ones.
    ``sets`` says which labels these are where the data have two sets of them: those of ``train`` are the ones to train
    on, those of ``validation`` and ``test`` the ones to evaluate.
    """

    train: Examples
    validation: Examples | None
    test: Examples
    protocol: str
    queries: Tensor | None = None
    incomplete: str | None = None
    noise: LabelNoise | None = None
    sets: LabelSets | None = None

    @property
    def labels_to_train_on(self) -> Tensor:
        """Of the train part, int64 (N,): the true ones unless there is label noise."""
        return self.train.labels if self.noise is None else self.noise.labels

    @property
    def references(self) -> Examples:
        """The train part with the labels that evaluation goes by."""
        return self.train if self.sets is None else self.sets.references

    @property
    def labels_to_validate_on(self) -> Tensor:
        """Of the validation part, int64 (N,): those that the loss knows."""
        assert self.validation is not None
        return self.validation.labels if self.sets is None else self.sets.validation.labels

    @property
    def parts(self) -> dict[str, Examples]:
        """The parts that there are, by name."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    def said(self) -> str:
        """How many images of how many classes each part has, in words."""
        said = "; ".join(
            f"{name}: {len(part):,} {_NOUNS.get(len(part.shape), 'examples')}, {part.num_classes:,} classes"
            for name, part in self.parts.items()
        )
        asking = 0 if self.queries is None else int(self.queries.sum())
        if asking:
            said += f" ({asking:,} queries, {len(self.test) - asking:,} in the gallery)"
        if self.sets is not None:
            said += f"; {self.sets.said()}"
        if self.noise is not None:
            said += f"; {self.noise.count:,} of {len(self.train):,} training labels are wrong (dataset.label_noise)"
        return said

    def file_names(self, part: str) -> list[str] | None:
        """The image files of a part, relative to the common folder of all parts; None without image files."""
        files = {name: one.inputs for name, one in self.parts.items() if isinstance(one.inputs, ImageFiles)}
        if part not in files:
            return None
        names = relative_names(path for one in files.values() for path in one.paths)
        return [names[path] for path in files[part].paths]

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """See :func:`metriscope.data.fingerprint.fingerprint`."""
        found = fingerprint(self.parts if self.sets is None else self.sets.parts, self.queries, self.noise)
        return found if self.incomplete is None else {**found, "incomplete": self.incomplete}


def split(source: Source, protocol: str, fold: int = 0, validation: float | None = None) -> Splits:
    """Splits a data set; a fixed function of its arguments, so that all seeds of a study see the same parts.

    Args:
        source: the data set as it is distributed.
        protocol: ``closed_set`` holds out a stratified share of the train half; ``class_disjoint`` pools both
            halves, trains on the first half of the classes and tests on the last, and holds out a share of
            the train classes, as [MLRC] arXiv:2003.08505 does. Halves that already share no class are kept.
            A kept test half keeps its queries and gallery; pooled examples are all both. A validation part that the
            data bring takes the place of a share: its classes are among those of train under ``closed_set``, and in
            no other part under ``class_disjoint``. Where classes lie in superclasses, ``class_disjoint`` divides
            superclasses in the place of classes, so that neither is in two parts.
        fold: number of the share that is held out; folds are disjoint.
        validation: the share that is held out, 0 for none; None for the protocol's default: 0.1 of the images or
            0.25 of the classes.

    Raises:
        InputError: the protocol is unknown, the share or fold is out of range, there are too few classes, or a
            validation part of the data does not go with the other arguments.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"dataset.protocol={protocol}: choose one of {', '.join(PROTOCOLS)}")
    share = _DEFAULT_VALIDATION[protocol] if validation is None else float(validation)
    if not 0 <= share < 1:
        raise InputError(f"dataset.validation={share}: the share held out of training must be at least 0 and below 1")
    if fold < 0:
        raise InputError(f"dataset.fold={fold}: folds count from 0")
    given = source.validation
    if given is not None and (fold != 0 or (validation is not None and share != 0)):
        key = f"dataset.fold={fold}" if fold else f"dataset.validation={share:g}"
        raise InputError(
            f"{key}: the data bring their own validation part; leave the key out (dataset.validation=0 trains "
            "without the part)"
        )
    closed = protocol == "closed_set"
    train, test, queries = _closed_set(source) if closed else _class_disjoint(source)
    held_out = None
    if share != 0 and given is not None:
        held_out = _closed_set_part(given, train, "validation") if closed else _disjoint_part(given, train, test)
    elif share != 0:
        train, held_out = (_hold_out_images if closed else _hold_out_classes)(train, fold, share)
    if queries is not None:
        _warn_of_lost_queries(test, queries)
    elif source.queries is not None:
        log.info("dataset.protocol=%s divides queries and gallery anew: each test image is both", protocol)
    return Splits(train, held_out, test, protocol, queries, source.incomplete)


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
    train = train.compact()
    if train.num_classes < 2:
        raise InputError(f"the train half has {train.num_classes} class: metric learning needs at least 2")
    return train, _closed_set_part(test, train, "test"), queries


def _closed_set_part(part: Examples, train: Examples, what: str) -> Examples:
    """A part whose classes are among those of train, with their ids."""
    part = part.compact()
    if unknown := sorted(set(part.classes) - set(train.classes)):
        raise InputError(
            f"dataset.protocol=closed_set, but {len(unknown)} {what} classes are not in the train half "
            f"(such as {unknown[0]!r}): use dataset.protocol=class_disjoint"
        )
    return _renamed(part, train)


def _disjoint_part(validation: Examples, train: Examples, test: Examples) -> Examples:
    """A validation part that shares no class with train or test."""
    validation = validation.compact()
    for what, half in (("train", train), ("test", test)):
        if shared := sorted(set(validation.units) & set(half.units)):
            raise InputError(
                f"dataset.protocol=class_disjoint, but {len(shared)} validation {_noun(validation)} are in the {what} "
                f"half too "
                f"(such as {shared[0]!r}): use dataset.protocol=closed_set, or dataset.validation=0 to train without"
            )
    if validation.num_classes < 2:
        raise InputError(
            "the validation part has 1 class, in which retrieval is always right: give it 2, or set "
            "dataset.validation=0 to train without"
        )
    return validation


def _warn_of_lost_queries(test: Examples, queries: Tensor) -> None:
    asking = test.labels[queries]
    lost = asking[~torch.isin(asking, test.labels[~queries])]
    if len(lost):
        classes = torch.unique(lost)
        warnings.warn(
            f"{len(lost)} of {len(asking)} queries cannot find anything and are left out of retrieval metrics: the "
            f"gallery has no image of their {len(classes)} classes, such as {test.classes[int(classes[0])]!r}",
            stacklevel=3,
        )


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
    if test is None or not set(train.units).isdisjoint(test.units):
        whole = train.compact() if test is None else _pool(train, test)
        count = len(set(whole.units))
        half = (count + 1) // 2
        train, test, queries = _classes(whole, 0, half), _classes(whole, half, count), None
    train, test = train.compact(), test.compact()
    left, tested = (len(set(part.units)) for part in (train, test))
    if min(left, tested) < 2:
        raise InputError(
            f"dataset.protocol=class_disjoint leaves {left} {_noun(train)} to train and "
            f"{tested} to test: both need at least 2, use dataset.protocol=closed_set"
        )
    return train, test, queries


def _hold_out_classes(train: Examples, fold: int, share: float) -> tuple[Examples, Examples]:
    count = len(set(train.units))
    size = max(2.0, count * share)  # with a single class retrieval is always right
    folds = math.floor(count / size + _ROUNDING)
    low, high = (math.floor(size * edge + _ROUNDING) for edge in (fold, fold + 1))
    if count - (high - low) < 2:
        raise InputError(
            f"dataset.validation={share:g} holds out {high - low} of {count} train {_noun(train)} "
            "and leaves fewer than 2: lower it (2 are held out at least), or set it to 0"
        )
    if fold >= folds:
        raise InputError(
            f"dataset.fold={fold}: dataset.validation={share:g} of {count} train {_noun(train)} gives "
            f"folds 0..{folds - 1}"
        )
    held_out = _inside(train, low, high)
    return train.take((~held_out).nonzero().squeeze(1)).compact(), _classes(train, low, high)


def _by_class(train: Examples, test: Examples) -> bool:
    """Whether the two halves share no class."""
    return set(train.classes).isdisjoint(test.classes)


def _noun(examples: Examples) -> str:
    return "classes" if examples.superclasses is None else "superclasses"


def _inside(examples: Examples, low: int, high: int) -> Tensor:
    """Whether each example is of the classes (or superclasses) from number ``low`` to before ``high``, bool (N,)."""
    labels = examples.labels if examples.superclasses is None else examples.coarse().labels
    return (labels >= low) & (labels < high)


def _classes(examples: Examples, low: int, high: int) -> Examples:
    return examples.take(_inside(examples, low, high).nonzero().squeeze(1)).compact()


def _renamed(examples: Examples, to: Examples) -> Examples:
    ids = {name: position for position, name in enumerate(to.classes)}
    table = torch.tensor([ids[name] for name in examples.classes], dtype=torch.int64)
    return replace(examples, labels=table[examples.labels], classes=to.classes, superclasses=to.superclasses)


def _pool(train: Examples, test: Examples) -> Examples:
    if isinstance(train.inputs, Tensor | PairedVectors) and train.shape != test.shape:
        raise InputError(f"train examples are {train.shape}, test examples {test.shape}: they cannot be pooled")
    known = set(train.classes)
    fresh = [place for place, name in enumerate(test.classes) if name not in known]
    above = None
    if train.superclasses is not None and test.superclasses is not None:
        above = train.superclasses + tuple(test.superclasses[place] for place in fresh)
    classes = train.classes + tuple(test.classes[place] for place in fresh)
    whole = replace(train, classes=classes, superclasses=above)
    labels = torch.cat([train.labels, _renamed(test, whole).labels])
    if isinstance(train.inputs, Tensor) and isinstance(test.inputs, Tensor):
        return replace(whole, inputs=torch.cat([train.inputs, test.inputs]), labels=labels).compact()
    if isinstance(train.inputs, PairedVectors) and isinstance(test.inputs, PairedVectors):
        return replace(whole, inputs=train.inputs.followed_by(test.inputs), labels=labels).compact()
    assert isinstance(train.inputs, ImageFiles)
    assert isinstance(test.inputs, ImageFiles)
    return replace(whole, inputs=train.inputs.holding(train.inputs.items + test.inputs.items), labels=labels).compact()
