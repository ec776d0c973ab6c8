"""Labelled examples, the common form of all data sets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from metriscope.data.inputs.images import ImageFiles
from metriscope.errors import InputError

__all__ = ["Examples", "ImageFiles", "Inputs", "Source"]


class Inputs(Protocol):
    """Inputs that are not a tensor in memory, such as image files."""

    def __len__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input."""

    def take(self, indices: Tensor) -> "Inputs":
        """The inputs at these positions, without reading them."""

    def fetch(self, indices: Tensor) -> Any:
        """The inputs at these positions as a batch."""


@dataclass(frozen=True, eq=False)
class Examples:
    """Inputs with one label each.

    Attributes:
        inputs: images as uint8 (N, C, H, W), vectors as float32 (N, F), or :class:`Inputs` such as image
            files.
        labels: int64 (N,), positions in ``classes``.
        classes: class names, one per class id. A class may have no example here, such as a rare class of a
            closed-set data set in a small validation split; :meth:`compact` drops those.
        superclasses: the name of the coarse class in which each class lies, one per class id; None where the classes
            have none.
    """

    inputs: Tensor | Inputs
    labels: Tensor
    classes: tuple[str, ...]
    superclasses: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.labels):
            raise InputError(f"{len(self.inputs)} examples but {len(self.labels)} labels: one label per example")
        if len(set(self.classes)) != len(self.classes):
            raise InputError("two classes have the same name: class names must be unique")
        if self.superclasses is not None and len(self.superclasses) != len(self.classes):
            raise InputError(f"{len(self.classes)} classes but {len(self.superclasses)} superclasses: one per class")
        if self.labels.dtype != torch.int64 or self.labels.dim() != 1:
            raise InputError(f"labels must be int64 (N,), not {self.labels.dtype} {tuple(self.labels.shape)}")
        if len(self.labels):
            low, high = int(self.labels.min()), int(self.labels.max())
            if low < 0 or high >= len(self.classes):
                raise InputError(
                    f"labels {low}..{high} do not fit {len(self.classes)} classes: ids must be "
                    f"0..{len(self.classes) - 1}, as Examples.from_labels makes them"
                )

    @classmethod
    def from_labels(
        cls,
        inputs: Tensor | Inputs,
        labels: Sequence[int] | Tensor,
        names: Mapping[int, str] | None = None,
    ) -> "Examples":
        """Examples from labels of any integer values: with gaps, from 1, negative, or above 2**24.

        Class ids follow the order of the values; ``names`` maps a value to its class name (default: the
        value).
        """
        values, ids = torch.unique(torch.as_tensor(labels, dtype=torch.int64), return_inverse=True)
        names = names or {}
        return cls(inputs, ids, tuple(names.get(value, str(value)) for value in values.tolist()))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one example: (C, H, W) or (F,)."""
        return tuple(self.inputs.shape[1:]) if isinstance(self.inputs, Tensor) else self.inputs.shape

    @property
    def counts(self) -> Tensor:
        """Examples per class, int64 (num_classes,)."""
        return torch.bincount(self.labels, minlength=self.num_classes)

    @property
    def can_rank(self) -> bool:
        """Whether an example has another of its class to find, such as the other side of a pair."""
        return bool((self.counts > 1).any()) or (len(self.shape) == 2 and len(self) > 0)

    def take(self, indices: Tensor) -> "Examples":
        """The chosen examples, with class ids and names unchanged."""
        chosen = self.inputs[indices] if isinstance(self.inputs, Tensor) else self.inputs.take(indices)
        return replace(self, inputs=chosen, labels=self.labels[indices])

    def fetch(self, indices: Tensor) -> Any:
        """The chosen inputs as a batch: uint8 (B, C, H, W), float32 (B, F), or another type of the inputs' own."""
        if isinstance(self.inputs, Tensor):
            return self.inputs.index_select(0, indices)
        return self.inputs.fetch(indices)

    def compact(self) -> "Examples":
        """The same examples without empty classes, so that every id in 0..C-1 occurs."""
        values, ids = torch.unique(self.labels, return_inverse=True)
        if len(values) == self.num_classes:
            return self
        kept = values.tolist()
        above = self.superclasses
        return replace(
            self,
            labels=ids,
            classes=tuple(self.classes[value] for value in kept),
            superclasses=None if above is None else tuple(above[value] for value in kept),
        )

    @property
    def units(self) -> tuple[str, ...]:
        """What must not be divided among parts that share no class: the name of each class's superclass, or its own."""
        return self.classes if self.superclasses is None else self.superclasses

    def coarse(self) -> "Examples":
        """The same examples with their superclasses as classes, in the order of their first class.

        >>> fine = Examples(torch.zeros(3, 1), torch.tensor([2, 0, 1]), ("cat", "dog", "oak"), ("pet", "pet", "tree"))
        >>> fine.coarse().labels.tolist(), fine.coarse().classes
        ([1, 0, 0], ('pet', 'tree'))
        """
        if self.superclasses is None:
            raise LookupError("these classes have no superclasses")
        ids = {name: position for position, name in enumerate(dict.fromkeys(self.superclasses))}
        table = torch.tensor([ids[name] for name in self.superclasses], dtype=torch.int64)
        return Examples(self.inputs, table[self.labels], tuple(ids))


@dataclass(frozen=True, eq=False)
class Source:
    """A data set as it is distributed.

    Attributes:
        train: the train half, or all examples.
        test: the test half; None if the data set is published as one, to be split by the protocol.
        queries: bool (N,) over ``test``: True for queries, False for the gallery. None: every example is a query
            against all others.
        test_share: share of every class that a closed-set test takes if there is no test half, or if the published
            halves split the classes. None: a closed set needs halves that share their classes.
        validation: the part that validates, where the data bring one; None holds a share of train out.
        incomplete: what is missing of a published data set, in one sentence without paths; None if nothing is.
    """

    train: Examples
    test: Examples | None = None
    queries: Tensor | None = None
    test_share: float | None = None
    validation: Examples | None = None
    incomplete: str | None = None

    def __post_init__(self) -> None:
        if self.test is None and self.test_share is None:
            raise ValueError("a data set without a test half needs a test_share")
        if self.queries is not None:
            tested = 0 if self.test is None else len(self.test)
            if self.queries.dtype != torch.bool or self.queries.shape != (tested,):
                raise ValueError(f"queries must be bool ({tested},), one per test example")
        _check_superclasses([part for part in (self.train, self.test, self.validation) if part is not None])


def _check_superclasses(parts: Sequence[Examples]) -> None:
    """Refuse parts of which some have superclasses and others none, and a class that lies in two."""
    if len({part.superclasses is None for part in parts}) > 1:
        raise InputError("some parts of the data have superclasses and others have none: give them to all, or to none")
    known: dict[str, str] = {}
    for part in parts:
        for name, above in zip(part.classes, part.superclasses or (), strict=part.superclasses is not None):
            if known.setdefault(name, above) != above:
                raise InputError(
                    f"the class {name!r} lies in the superclass {known[name]!r} and in {above!r}: each has one"
                )
