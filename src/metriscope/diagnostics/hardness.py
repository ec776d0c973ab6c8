"""How similar the classes of a batch are, beside random ones: whether a sampler brings hard batches."""

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

    O(C D) time and memory, C the number of classes.
    """

    def __init__(self) -> None:
        self.means: Tensor | None = None
        """(C, D) float64, once there was a batch; 0 for a class that was not there yet."""

    @torch.no_grad()
    def observe(self, embeddings: Tensor, labels: Tensor) -> Measures:
        """A batch (B, D) with labels (B,), -1 for none -> ``batch_hardness``; nothing for fewer than two classes."""
        known = labels >= 0
        classes, places = torch.unique(labels[known], return_inverse=True)
        if not len(classes):
            return {}
        z = unit_rows(embeddings.detach()[known].double())
        own = unit_rows(z.new_zeros(len(classes), z.shape[1]).index_add_(0, places, z))
        self.means = self._table(own, int(classes[-1]) + 1)
        self.means[classes] = own
        if len(classes) < 2:
            return {}
        return {"batch_hardness": (_mean_cosine(own) - _mean_cosine(self.means), 1.0)}

    def _table(self, own: Tensor, rows: int) -> Tensor:
        """The means, with places for so many classes at least."""
        means = own.new_zeros(0, own.shape[1]) if self.means is None else self.means.to(own.device)
        return means if rows <= len(means) else torch.cat([means, means.new_zeros(rows - len(means), own.shape[1])])

    def state_dict(self) -> dict[str, Tensor]:
        return {} if self.means is None else {"means": self.means}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.means = state.get("means")


def _mean_cosine(directions: Tensor) -> Tensor:
    """Over pairs of the rows of unit length; others are 0 and do not count."""
    squares = directions.square().sum()
    count = squares.round()
    return (directions.sum(0).square().sum() - squares) / (count * (count - 1)).clamp_min(1)
