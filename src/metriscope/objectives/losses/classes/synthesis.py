"""Proxy synthesis: classes between two classes, with one sample each, that a loss with class vectors learns as well."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from metriscope.parts import ArgumentError
from metriscope.unit import unit_rows

Synthesis = Annotated[Mapping[str, float], Field(description="a mapping such as {ratio: 1.0, alpha: 0.4}")]


def check_synthesis(synthesis: Any) -> None:
    """Refuse what says something else than how many synthetic classes there are, and how mixed.

    Raises:
        ArgumentError: naming what fits.
    """
    rule = "give ratio, above 0 and at most 1, and alpha, above 0, such as {ratio: 1.0, alpha: 0.4}"
    if synthesis is None:
        return
    fits = isinstance(synthesis, Mapping) and set(synthesis) == {"ratio", "alpha"}
    if not fits or not 0 < synthesis["ratio"] <= 1 or not 0 < synthesis["alpha"] < math.inf:
        raise ArgumentError("synthesis", synthesis, rule)


def check_one_vector(arguments: Mapping[str, Any], key: str) -> None:
    """Refuse synthesis with several vectors for each class.

    Raises:
        ArgumentError: naming what fits.
    """
    if arguments["synthesis"] is not None and arguments[key] != 1:
        raise ArgumentError(key, arguments[key], "synthesis mixes one vector of each class: set it to 1")


class Synthetic(NamedTuple):
    """S synthetic classes.

    Attributes:
        first, second: (S,) int64, the samples of the batch that each one lies between.
        share: scalar, that of the first.
        valid: (S,) bool, the entries that stand for a class.
    """

    first: Tensor
    second: Tensor
    share: Tensor
    valid: Tensor

    def mixed(self, rows: Tensor) -> Tensor:
        """(B, n), of each sample of the batch -> (S, n)."""
        share = self.share.to(rows.dtype)
        return share * rows[self.first] + (1 - share) * rows[self.second]


def draw(
    classes: Tensor, known: Tensor, num_classes: int, ratio: float, alpha: float, generator: torch.Generator | None
) -> Synthetic:
    """Each sample with the one before it, in a random order of the batch, of which round(ratio * B) are taken.

    The order is random because neighbours in a batch of several samples for each class are often of one class. Those
    stand for nothing: their class vector would be that of a real class. Nor do further pairs of the same two classes
    in the same order, whose class vectors would be equal. All are there, so that no shape depends on labels.

    Args:
        classes: (B,) int64, 0 ... C - 1.
        known: (B,) bool, the samples that have a class.
        num_classes: C.
        ratio: above 0 and at most 1.
        alpha: a of the share l ~ Beta(a, a), one for the whole batch.
        generator: on the CPU; None: torch's global one.
    """
    gammas = torch._standard_gamma(torch.full((2,), alpha, dtype=torch.float64), generator)
    share = gammas[0] / gammas.sum().clamp_min(torch.finfo(torch.float64).tiny)
    order = torch.randperm(len(classes), generator=generator)
    count = round(ratio * len(classes))
    share, order = share.to(classes.device), order.to(classes.device)
    first, second = order[:count], order.roll(1)[:count]
    valid = known[first] & known[second] & (classes[first] != classes[second])
    pairs = torch.where(valid, classes[first] * num_classes + classes[second], -1)
    ordered, place = pairs.sort(stable=True)
    again = torch.zeros_like(valid)
    again[place[1:]] = ordered[1:] == ordered[:-1]
    return Synthetic(first, second, share, valid & ~again)


def similarities(embeddings: Tensor, vectors: Tensor, own: Tensor, synthetic: Synthetic) -> tuple[Tensor, Tensor]:
    """Cosines (B, C), and those (B + S, C + S) of all samples and classes, synthetic ones last.

    Args:
        embeddings: (B, D), float32 or float64.
        vectors: (C, D), in the same dtype.
        own: (B,) int64, the class of each sample.
        synthetic: S synthetic classes.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        z, w = unit_rows(embeddings), unit_rows(vectors)
        real = z @ w.T
        samples, classes = unit_rows(synthetic.mixed(z)), unit_rows(synthetic.mixed(w[own]))
        above = torch.cat([real, z @ classes.T], 1)
        return real, torch.cat([above, samples @ torch.cat([w, classes]).T])
