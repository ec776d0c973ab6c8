"""Affinities of pairs that a file says: of classes by a table, of samples by embeddings that were saved before."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from metriscope.objectives.comparison import Comparison
from metriscope.parts import ArgumentError
from metriscope.reading import kind_of
from metriscope.unit import unit_rows

AffinityFrom = Literal["trunk", "classes", "saved"]
"""Cosines of the trunk's features; a table of the classes; cosines of embeddings that were saved before."""


def check_affinity(arguments: Mapping[str, Any]) -> None:
    """Refuse a file without use, or none where one is needed.

    Args:
        arguments: ``affinity``, one of :data:`AffinityFrom`, and ``table``, the path of the file or None.

    Raises:
        ArgumentError: naming the key.
    """
    table, source = arguments["table"], arguments["affinity"]
    if source == "trunk" and table:
        raise ArgumentError(
            "table", table, "affinity=trunk reads no file; leave it out, or set affinity=classes or saved"
        )
    if source != "trunk" and not table:
        what = "numbers (C, C), .npy or .csv" if source == "classes" else "embeddings (N, F), .npy or .npz"
        raise ArgumentError("affinity", source, f"it needs a file of {what}: name it by table, or set affinity=trunk")
    if source != "trunk":
        _check_file(Path(table))


def _check_file(path: Path) -> None:
    try:
        kind = kind_of(path, follow=True)
    except OSError as error:
        raise ArgumentError("table", str(path), f"it cannot be read: {error.strerror}") from error
    if kind is not None:
        raise ArgumentError("table", str(path), f"it is {kind}: name a file")


def affinity_table(
    source: AffinityFrom, table: str | None, num_classes: int, num_samples: int
) -> "AffinityTable | None":
    """What a file says; None where the affinity is the trunk's.

    Args:
        source: where the affinity comes from.
        table: the path of the file.
        num_classes, num_samples: C and N, of the training set.

    Raises:
        ArgumentError: the file does not hold what it should.
    """
    if source == "trunk" or table is None:
        return None
    numbers = _numbers(Path(table))
    if source == "classes":
        if numbers.shape != (num_classes, num_classes):
            wanted = f"({num_classes}, {num_classes}), one row and column for each class of the training set"
            raise ArgumentError("table", table, f"it holds numbers {tuple(numbers.shape)}; they have to be {wanted}")
        if numbers.abs().max() > 1:
            raise ArgumentError("table", table, "affinities are from -1 to 1; divide them by the largest")
        return ClassTable(numbers)
    if numbers.ndim != 2 or len(numbers) != num_samples:
        wanted = f"({num_samples}, F), one row for each training sample, in the order of the train part"
        raise ArgumentError("table", table, f"it holds numbers {tuple(numbers.shape)}; they have to be {wanted}")
    return SavedTable(numbers)


class AffinityTable(nn.Module):
    """Base class: numbers from a file, on the device of the model, and in no checkpoint."""

    numbers: Tensor

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()
        self.register_buffer("numbers", numbers, persistent=False)

    def forward(self, comparison: Comparison) -> Tensor:
        """(B, R) affinities from -1 to 1, detached."""
        raise NotImplementedError


class ClassTable(AffinityTable):
    """The affinity of two samples is that of their classes; of samples of none of them it is 0.

    >>> from metriscope.distances import Cosine
    >>> from metriscope.objectives.comparison import Segment
    >>> from metriscope.objectives.samples import Samples
    >>> some = Samples.of(torch.eye(3), torch.tensor([1, 0, -1]))
    >>> ClassTable(torch.tensor([[1.0, 0.5], [0.25, 1.0]]))(Comparison(some, [Segment(some)], Cosine())).tolist()
    [[1.0, 0.25, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def forward(self, comparison: Comparison) -> Tensor:
        own, others = comparison.anchors.labels, comparison.references.labels
        known = (others >= 0) & (others < len(self.numbers))
        found = self.numbers[own.clamp_min(0)].index_select(1, torch.where(known, others, 0))
        return found * ((own >= 0).unsqueeze(1) & known)


class SavedTable(AffinityTable):
    """The cosine similarity of what was saved of two training samples; of samples of no training set it is 0.

    Args:
        embeddings: (N, F).
    """

    def __init__(self, embeddings: Tensor) -> None:
        super().__init__(unit_rows(embeddings))

    def forward(self, comparison: Comparison) -> Tensor:
        own, others = (self._of(side.index) for side in (comparison.anchors, comparison.references))
        return own @ others.T

    def _of(self, index: Tensor) -> Tensor:
        return self.numbers[index.clamp_min(0)] * (index >= 0).unsqueeze(1)


def _numbers(path: Path) -> Tensor:
    """The finite numbers of a file, float32.

    Raises:
        ArgumentError: it cannot be read, or holds something else.
    """
    try:
        if path.suffix == ".csv":
            found = np.loadtxt(path, delimiter=",", ndmin=2)
        else:
            loaded = np.load(path, allow_pickle=False)
            if not isinstance(loaded, np.ndarray):
                with loaded:
                    found = loaded["embeddings"]
            else:
                found = loaded
        numbers = torch.from_numpy(np.asarray(found, dtype=np.float32))
    except KeyError as error:
        raise ArgumentError("table", str(path), "it has no array embeddings; save one by numpy.savez") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        line = " ".join(str(error).split())[:150]
        raise ArgumentError("table", str(path), f"it holds no numbers that can be read: {line}") from error
    if not numbers.numel() or not numbers.isfinite().all():
        raise ArgumentError("table", str(path), "it has to hold finite numbers, and at least one")
    return numbers
