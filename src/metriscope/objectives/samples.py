"""What a step is about: rows that can be compared, the spaces that a network gives them, and the moment of training."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.errors import InputError


class Samples(NamedTuple):
    """Rows that can be compared.

    Attributes:
        embeddings: (N, D).
        labels: (N,) int64; -1 for a place without a sample, or a sample without a class.
        index: (N,) int64, position in the training set; -1 for none (a synthetic sample, validation).
        source: (N,) int64, the row that a synthetic sample stands for; None where all are real.
        side: (N,) int64, the modality of each sample, 0 or 1, and -1 where it is unknown; None where there is one.
        affine: (N, F) detached, the samples in the space that the affinity of pairs comes from; None without one.
    """

    embeddings: Tensor
    labels: Tensor
    index: Tensor  # type: ignore[assignment]
    source: Tensor | None = None
    side: Tensor | None = None
    affine: Tensor | None = None

    @classmethod
    def of(cls, embeddings: Tensor, labels: Tensor, index: Tensor | None = None) -> "Samples":
        """Samples whose index is -1 where none is given."""
        return cls(embeddings, labels, torch.full_like(labels, -1, dtype=torch.int64) if index is None else index)

    def check(self, what: str, batch: "Samples | None" = None) -> None:
        """Refuse columns that do not fit each other, or the batch that the samples are compared with.

        Args:
            what: what the samples are, for the line of an error.
            batch: with embeddings (B, D).

        Raises:
            InputError: no embeddings (N, D) of real numbers, no labels or index (N,) of whole numbers, or another D or
                device than that of the batch.
        """
        for name, column in (("embeddings", self.embeddings), ("labels", self.labels), ("index", self.index)):
            if not isinstance(column, Tensor):
                raise InputError(f"{name} of {what} are a {type(column).__name__}: give a tensor")
        z = self.embeddings
        if not z.is_floating_point():
            raise InputError(f"embeddings of {what} are of {z.dtype}: give numbers of floating point")
        for name, column in (("labels", self.labels), ("index", self.index)):
            if z.ndim != 2 or column.shape != z.shape[:1] or not _whole_numbers(column):
                raise InputError(
                    f"{what}: embeddings {tuple(z.shape)} and {name} {tuple(column.shape)} of {column.dtype}: "
                    f"give embeddings (N, D) and {name} (N,) of whole numbers"
                )
            if column.device != z.device:
                raise InputError(f"{name} of {what} are on {column.device}, embeddings on {z.device}: move one of them")
        if batch is None:
            return
        if z.shape[1] != batch.embeddings.shape[1]:
            raise InputError(
                f"embeddings of {what} are {tuple(z.shape)}, those of the batch {tuple(batch.embeddings.shape)}: "
                "compare embeddings of one size"
            )
        if z.device != batch.embeddings.device:
            raise InputError(f"{what} are on {z.device}, the batch is on {batch.embeddings.device}: move one of them")

    def at(self, rows: Tensor | slice) -> "Samples":
        """Those in these rows."""
        columns = (None if column is None else _taken(column, rows) for column in self)
        return Samples(*columns)  # type: ignore[arg-type]


def joined(first: Samples, others: Sequence[Samples]) -> Samples:
    """One after the other, in the dtype of the first."""
    every = [first, *others]
    embeddings = torch.cat([first.embeddings, *(x.embeddings.to(first.embeddings.dtype) for x in others)])
    labels, index = (torch.cat([getattr(x, name) for x in every]) for name in ("labels", "index"))
    affine = [x.affine for x in every if x.affine is not None]
    whole = torch.cat([x.to(affine[0].dtype) for x in affine]) if len(affine) == len(every) else None
    return Samples(embeddings, labels, index, _column(every, "source"), _column(every, "side"), whole)


def _column(every: Sequence[Samples], name: str) -> Tensor | None:
    """A column that some may lack, where -1 stands for what is missing."""
    columns = [getattr(samples, name) for samples in every]
    if all(column is None for column in columns):
        return None
    return torch.cat(
        [torch.full_like(x.labels, -1) if column is None else column for x, column in zip(every, columns, strict=True)]
    )


class Moment(NamedTuple):
    """When a comparison is made.

    Attributes:
        epoch, step: from 0.
        progress: the share of the training that is over, from 0 to below 1.
        generator: a CPU generator of this step, for parts that draw; None: torch's global one.
    """

    epoch: int = 0
    step: int = 0
    progress: float = 0.0
    generator: torch.Generator | None = None


class Spaces(NamedTuple):
    """A batch after the network.

    Attributes:
        outputs: (B, size) by the name of the space: ``embedding``, ``trunk``.
        labels: (B,) int64.
        index: (B,) int64, position in the training set; -1 for none.
        side: (B,) int64, the modality of each sample, 0 or 1; None where there is one. A batch of B pairs has 2 B rows,
            and the two rows of a pair share label and index.
    """

    outputs: Mapping[str, Tensor]
    labels: Tensor
    index: Tensor  # type: ignore[assignment]
    side: Tensor | None = None

    @classmethod
    def of(
        cls,
        embeddings: Tensor,
        labels: Tensor,
        index: Tensor | None = None,
        trunk: Tensor | None = None,
        side: Tensor | None = None,
    ) -> "Spaces":
        """A batch of embeddings (B, D), of trunk features (B, F) where they are given.

        >>> batch = Spaces.of(torch.eye(2), torch.tensor([0, 1]))
        >>> batch.samples("embedding").index.tolist()
        [-1, -1]
        """
        outputs = {"embedding": embeddings} | ({} if trunk is None else {"trunk": trunk})
        return cls(outputs, labels, torch.full_like(labels, -1, dtype=torch.int64) if index is None else index, side)

    def samples(self, space: str, affinity: str | None = None) -> Samples:
        """The batch in one space, with an affinity of pairs from another.

        Raises:
            InputError: there is no such space.
        """
        for name in (space, affinity):
            if name is not None and name not in self.outputs:
                raise InputError(f"there is no space {name}; the network gives {', '.join(self.outputs)}")
        affine = None if affinity is None else self.outputs[affinity].detach()
        return Samples(self.outputs[space], self.labels, self.index, side=self.side, affine=affine)


def _taken(column: Tensor, rows: Tensor | slice) -> Tensor:
    return column[rows] if isinstance(rows, slice) else column.index_select(0, rows)


def _whole_numbers(column: Tensor) -> bool:
    return not (column.is_floating_point() or column.is_complex() or column.dtype == torch.bool)
