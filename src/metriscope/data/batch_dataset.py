"""A data set of whole batches: examples, read by lists of their positions."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from metriscope.data.examples import Examples
from metriscope.data.inputs.features import ViewsInTurn
from metriscope.data.inputs.late import divides
from metriscope.data.inputs.paired import PairedVectors

Batch = tuple[Any, Tensor, Tensor]
"""Inputs, labels (B,) and index (B,), the positions of the examples."""


class BatchDataset(Dataset[Batch]):
    """Examples indexed by a list of positions, so that memory is sliced once per batch.

    Args:
        examples: what there is.
        views: rows for each example, one after the other, with the same label and index; each is augmented on its own.
        by_image: whether the label of an example is its position.
        apart: whether the second row of a pair has a position of its own, N + p beside p.

    Of pairs there are two rows for each, one after the other, with the same label.
    """

    def __init__(self, examples: Examples, views: int = 1, by_image: bool = False, apart: bool = False) -> None:
        self.examples = examples
        self.views = views
        self.by_image = by_image
        self.apart = apart

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, positions: list[int]) -> Batch:
        index = torch.as_tensor(positions, dtype=torch.int64)
        if isinstance(self.examples.inputs, PairedVectors):
            rows = index.repeat_interleave(2)
            labels = rows if self.by_image else self.examples.labels[rows]
            places = torch.stack([index, index + len(self)], 1).flatten() if self.apart else rows
            return self.examples.fetch(index), labels, places
        rows = index if self.views == 1 else index.repeat_interleave(self.views)
        return self._inputs(index, rows), rows if self.by_image else self.examples.labels[rows], rows

    def _inputs(self, index: Tensor, rows: Tensor) -> Any:
        inputs = self.examples.inputs
        # Some hold views of their own, and what is in memory is sliced once.
        if self.views == 1 or isinstance(inputs, ViewsInTurn):
            return self.examples.fetch(index)
        if isinstance(inputs, Tensor):
            return self.examples.fetch(rows)
        # A file is decoded once for all its views.
        found = self.examples.fetch(index)
        if not divides(found, len(index)):
            return self.examples.fetch(rows)
        if isinstance(found, Tensor):
            return found.repeat_interleave(self.views, 0)
        return type(found)(*(part.repeat_interleave(self.views, 0) for part in found))
