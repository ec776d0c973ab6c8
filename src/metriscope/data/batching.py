"""Composition of training batches: a sampler for which data, seed and process are yet to come."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metriscope.data.samplers import BatchSampler
from metriscope.errors import InputError
from metriscope.parts import instantiate, locate


@dataclass(frozen=True)
class Batching:
    """Composition of training batches.

    Attributes:
        section: ``_target_``, a subclass of :class:`BatchSampler`, and arguments of it.
        views: V, how many augmentations of each drawn example a batch holds, one after the other.
        by_image: whether the loss takes every image for a class of its own; the sampler draws by the true classes.
    """

    section: Mapping[str, Any]
    views: int = 1
    by_image: bool = False

    def sampler(self, labels: Tensor, seed: int, rank: int = 0, world_size: int = 1) -> BatchSampler:
        """Batches of the examples with these labels; arguments as of :class:`BatchSampler`.

        Raises:
            InputError: the arguments do not fit the data.
        """
        found: BatchSampler = instantiate(
            self.section, "sampler", labels=labels, seed=seed, rank=rank, world_size=world_size
        )
        name = type(found).__name__
        try:
            number = len(found)
        except Exception as error:
            line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise InputError(f"the sampler {name} cannot say how many batches an epoch has: {line}") from error
        if number < 1:
            raise InputError(f"the sampler {name} has no batch in an epoch of {len(labels)} examples")
        return found

    def adapted(self, labels: Tensor) -> "Batching":
        """The same batching for data with fewer or smaller classes."""
        part: type[BatchSampler] = locate(str(self.section["_target_"]), "sampler.")
        return Batching(part.adapted(self.section, labels))
