"""Adaptive supervision: dissimilar positives count less, the more so the later in the training."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count, UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.selection import Pairs
from metriscope.objectives.weightings.base import Weighting

Schedule = Literal["sigmoid", "linear", "lambda", "constant"]
Lookup = Literal["linear", "top", "bell", "uniform"]

_LOOKUPS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda s: s.clamp_min(0),
    "top": lambda s: (1 - (s.clamp_min(0) - 1).square()).clamp_min(0).sqrt(),
    "bell": lambda s: torch.exp(-0.5 * (4 * (s - 0.5)).square()) / math.sqrt(2 * math.pi),
    "uniform": torch.ones_like,
}


class AdaptiveSupervisionWeighting(Weighting):
    """w_ap = p + (1 - p) h(s_ap), divided by its mean over all positive pairs that count.

    s_ap is the cosine similarity now, and p falls with t, the share of the epochs that is over: at first all positives
    count alike, later those that are still far count less, as their labels may be wrong.

    - ``schedule``, p: ``sigmoid`` 1 / (1 + exp(10 (t - 1/2))); ``linear`` 1 - t; ``lambda`` 1 up to k, then
      (1 - t) / (1 - k); ``constant`` 1, no weighting (``zero`` in the authors' code).
    - ``lookup``, h: ``linear`` max(s, 0); ``top`` sqrt(1 - (max(s, 0) - 1)^2); ``bell`` the normal density at
      4 (s - 1/2); ``uniform`` 1.

    A positive's weight multiplies its term: with ``infonce`` the loss is mean_ap w_ap L_ap.

    Li et al., arXiv:2303.06193, checked against the authors' code. There a term is a query patch and its key, here it
    is a positive pair. Positives of anchors without a selected negative are no terms. Where all weights are 0, they are
    1; with p = 1 no bit changes. Two matrices (B, R) are held for a moment, since the mean needs all pairs before the
    loss judges blocks of anchors.

    Args:
        epochs: number of epochs of the whole training, at least 1.
        schedule, lookup: as above.
        constant_share: k, from 0 to 1, of ``lambda``; 0.75 in the paper.
    """

    weighs = frozenset({"pairs"})
    paper = "arXiv:2303.06193"

    def __init__(
        self,
        epochs: Count = 10,
        schedule: Schedule = "lambda",
        lookup: Lookup = "linear",
        constant_share: UnitInterval = 0.5,
    ) -> None:
        super().__init__()
        self.epochs = epochs
        self.schedule, self.lookup, self.constant_share = schedule, lookup, constant_share

    def weigh_pairs(self, comparison: Comparison, pairs: Pairs) -> Pairs:
        share = self._share(min(comparison.moment.epoch / self.epochs, 1))
        if share == 1:
            return pairs
        similarities = comparison.block(slice(0, len(pairs.positive))).similarities
        weights = self._weights(similarities, pairs.positive & pairs.negative.any(1, keepdim=True), share)
        before = pairs.positive_weights
        return replace(pairs, positive_weights=weights if before is None else before * weights)

    def _share(self, t: float) -> float:
        """p."""
        if self.schedule == "sigmoid":
            return 1 / (1 + math.exp(10 * (t - 0.5)))
        if self.schedule == "linear":
            return 1 - t
        if self.schedule == "lambda" and t > self.constant_share:
            return (1 - t) / (1 - self.constant_share)
        return 1

    def _weights(self, similarities: Tensor, terms: Tensor, share: float) -> Tensor:
        weights = share + (1 - share) * _LOOKUPS[self.lookup](similarities)
        mean = (weights * terms).sum(dtype=torch.float64) / terms.sum().clamp_min(1)
        return torch.where(mean > 0, weights / torch.where(mean > 0, mean, 1).to(weights.dtype), 1)
