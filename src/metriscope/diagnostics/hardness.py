"""How similar the classes of a batch are, beside random ones: whether a sampler brings hard batches."""

from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.diagnostics.averages import Measures
from metriscope.unit import unit_rows


class BatchHardness:
    """Mean cosine of two classes of a batch, less the mean cosine of two classes of those seen so far.

    A class stands as the mean of its unit embeddings in the last batch that held it, scaled to unit length, so that
    both sides are means of as few samples. 0 where batches draw classes at random, or hold all; above 0 where they hold
    similar ones, as a sampler of hard classes shall bring about. Proposed as "mean similarity of the classes within a
    batch over that of random classes"; here it is the difference, since the mean cosine of random classes is about 0,
    where a quotient says nothing. Means of classes may be as old as an epoch.

    Memory is O(C D), C the number of classes; time O(B D), because the sum of all means is kept.

    The host waits in every step, for the samples with a label, the number of their classes and the largest of these:
    means of classes that nobody has announced need places, and places for all that there could be would be as large as
    the labels. The three waits follow one another, so that a GPU runs idle once; a run pays it only where somebody has
    asked for this measure.
    """

    def __init__(self) -> None:
        self.state: _Known | None = None

    @torch.no_grad()
    def observe(self, embeddings: Tensor, labels: Tensor) -> Measures:
        """A batch (B, D) with labels (B,), -1 for none -> ``batch_hardness``; nothing for fewer than two classes."""
        known = labels >= 0
        classes, places = torch.unique(labels[known], return_inverse=True)
        if not len(classes):
            return {}
        z = unit_rows(embeddings.detach()[known].double())
        own = unit_rows(z.new_zeros(len(classes), z.shape[1]).index_add_(0, places, z))
        means, total, number = self._held(own, int(classes[-1]) + 1)
        total = total + (own - means[classes]).sum(0)
        number = number + _there(own) - _there(means[classes])
        means[classes] = own
        self.state = _Known(means, total, number)
        if len(classes) < 2:
            return {}
        return {"batch_hardness": (_mean_cosine(own.sum(0), _there(own)) - _mean_cosine(total, number), 1.0)}

    def _held(self, own: Tensor, rows: int) -> "_Known":
        """What is known, with places for so many classes at least."""
        nothing = own.new_zeros(0, own.shape[1])
        held = _Known(nothing, nothing.sum(0), nothing.sum()) if self.state is None else self.state
        means, total, number = (one.to(own.device) for one in held)
        if rows > len(means):
            means = torch.cat([means, means.new_zeros(rows - len(means), own.shape[1])])
        return _Known(means, total, number)

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.state is None else self.state._asdict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        # Means are written in place.
        self.state = _Known(**{name: one.clone() for name, one in state.items()}) if state else None


class _Known(NamedTuple):
    """The classes seen so far, in float64."""

    means: Tensor
    """(C, D) of unit length; 0 for a class that was not there yet."""
    total: Tensor
    """(D,) their sum."""
    number: Tensor
    """How many there are."""


def _there(directions: Tensor) -> Tensor:
    """How many rows are of unit length; others are 0."""
    return directions.square().sum().round()


def _mean_cosine(total: Tensor, count: Tensor) -> Tensor:
    """Over the pairs of so many vectors of unit length with this sum."""
    return (total.square().sum() - count) / (count * (count - 1)).clamp_min(1)
