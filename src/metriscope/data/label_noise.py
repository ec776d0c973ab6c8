"""Label noise: wrong labels that some training samples get, as a function of the seed, with the true ones recorded."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metriscope.annotations import said
from metriscope.data.examples import Examples
from metriscope.data.inputs.caches import digest_of_tensor
from metriscope.errors import InputError, nearest
from metriscope.escapes import for_csv
from metriscope.files import replacing
from metriscope.seeds import generator

KEY, PAIRS = "dataset.label_noise", "dataset.label_noise_pairs"


@dataclass(frozen=True, eq=False)
class LabelNoise:
    """Labels to train on in place of the true ones, which stay those of the train part.

    Attributes:
        labels: int64 (N,), one for each sample of the train part, in its order.
        noisy: bool (N,), True where this label is wrong.
    """

    labels: Tensor
    noisy: Tensor

    @cached_property
    def count(self) -> int:
        """How many labels are wrong."""
        return int(self.noisy.sum())

    @property
    def facts(self) -> list[Any]:
        """For the fingerprint of the data: the number of wrong labels, and a digest of all labels."""
        return [self.count, digest_of_tensor(self.labels)]


def label_noise(
    train: Examples, share: float, seed: int, pairs: Mapping[str | int, str | int] | None = None
) -> LabelNoise:
    """Wrong labels for a share of the training samples: ``round(share * N)`` of the N that may get one.

    A larger share with the same seed changes the labels of the same samples in the same way, and those of others.

    Args:
        train: the train part, with true labels.
        share: at least 0, below 1.
        seed: of the run, so that all losses are trained on the same labels.
        pairs: class -> class whose label its samples get, by name or, where no class has this name, by number from 0;
            samples of other classes keep theirs. None or empty: every sample may get the label of any other class of
            the train part, all equally likely.

    Raises:
        InputError: the share is out of range or changes no label, or a class is unknown.
    """
    if not 0 <= share < 1:
        raise InputError(f"{KEY}={said(share)}: it has to be a share of at least 0 and below 1")
    if train.num_classes < 2:
        raise InputError(f"{KEY}={said(share)}: training has one class, and a wrong label needs another")
    source = generator(seed, "label-noise")
    targets = _targets(train, pairs or {})
    shift = torch.randint(1, train.num_classes, (len(train),), generator=source)
    wrong = targets[train.labels] if pairs else (train.labels + shift) % train.num_classes
    open_to_change = (wrong != train.labels).nonzero()[:, 0]
    order = torch.randperm(len(open_to_change), generator=source)
    count = round(share * len(open_to_change))
    if share > 0 and count == 0:
        raise InputError(
            f"{KEY}={said(share)} of {len(open_to_change)} training samples is none: raise the share, or set it to null"
        )
    noisy = torch.zeros(len(train), dtype=torch.bool)
    noisy[open_to_change[order[:count]]] = True
    return LabelNoise(torch.where(noisy, wrong, train.labels), noisy)


def write_label_noise(path: Path, noise: LabelNoise, train: Examples, files: Sequence[str] | None = None) -> None:
    """Writes a CSV file with a line per wrong label.

    Args:
        path: of the file.
        noise: the wrong labels.
        train: the train part, with true labels.
        files: names of its image files; None without files, whose column stays empty.
    """
    rows = noise.noisy.nonzero()[:, 0].tolist()
    with replacing(path) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["position", "path", "label", "true_label"])
        for row in rows:
            labels = (train.classes[int(labels[row])] for labels in (noise.labels, train.labels))
            writer.writerow(for_csv((row, None if files is None else files[row], *labels)))


def _targets(train: Examples, pairs: Mapping[str | int, str | int]) -> Tensor:
    """The class whose label the samples of each class may get, int64 (C,); itself where they keep theirs."""
    targets = torch.arange(train.num_classes)
    for source, target in pairs.items():
        first, second = _class(train, source), _class(train, target)
        if first == second:
            raise InputError(f"{PAIRS}: {train.classes[first]!r} stands for itself: name another class")
        if targets[first] != first:
            raise InputError(f"{PAIRS}: {train.classes[first]!r} is there twice, by name and by number; name it once")
        targets[first] = second
    return targets


def _class(train: Examples, named: str | int) -> int:
    """The number of a class of the train part."""
    name = said(named)
    if name in train.classes:
        return train.classes.index(name)
    if name.isdecimal() and int(name) < train.num_classes:
        return int(name)
    close = nearest(name, train.classes)
    raise InputError(
        f"{PAIRS}: training has no class {name}{close} It has {train.num_classes}, by name or by number from 0"
    )
