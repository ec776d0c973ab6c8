"""Soft-InfoNCE: negatives that are alike in another space are pushed less."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from metriscope.objectives.affinities import AffinityFrom, affinity_table, check_affinity
from metriscope.objectives.arguments import Count, NonNegative, Positive, UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.distances.base import precise
from metriscope.objectives.numerics import masked_softmax, numbers
from metriscope.objectives.selection import Pairs
from metriscope.objectives.weightings.base import Weighting
from metriscope.parts import ArgumentError


class SoftNegativeWeighting(Weighting):
    """w_an = max(floor, (beta - alpha l_an) / (beta - alpha / M)), l_a the softmax of A_an / t over a's M negatives.

    A_an is the affinity of anchor and negative, which something other than the trained embedding says: the trunk's
    features (``trunk``, most useful where it is frozen), a table of the classes, or embeddings saved before. The
    weights of an anchor's negatives have the mean 1 before the floor. A negative's weight multiplies its exponential,
    so that with ``infonce`` the loss of a positive pair is

        -log(exp(s_ap / tau) / (exp(s_ap / tau) + sum_n w_an exp(s_an / tau))):

    negatives that are alike, which may have wrong labels, are pushed less. ``alpha=0`` is no weighting, to the bit.

    Li et al., arXiv:2310.08069, checked against the authors' code, in which positives are on the diagonal, similarities
    are dot products without a temperature, and 1e-15 is added inside the logarithm.

    One negative and alpha = beta has the weight 1. With ``saved``, samples of no training set, as in validation, have
    no affinity and the same weight. Two matrices (B, R) are held for a moment, the affinities and the weights, since
    a miner's pairs are weighed as a whole before the loss judges blocks of anchors.

    Args:
        num_classes, num_samples: C and N, of the training set.
        affinity: ``trunk``, ``classes`` or ``saved``.
        table: the file of the affinity: with ``classes``, numbers (C, C) from -1 to 1, .npy or .csv, in the order of
            the classes; with ``saved``, embeddings (N, F) in the order of the train part, .npy, or .npz as
            ``embeddings``. None with ``trunk``.
        alpha: how much weights differ, from 0 to beta.
        beta: above 0; only alpha / beta matters.
        temperature: t, above 0; 1 in the authors' code, which hardly acts on cosines.
        floor: the least weight, from 0 to 1.

    Raises:
        InputError: alpha above beta, or a file that does not hold the affinity.
    """

    weighs = frozenset({"pairs"})
    paper = "arXiv:2310.08069"

    def __init__(
        self,
        num_classes: Count = 1,
        num_samples: Count = 1,
        affinity: AffinityFrom = "trunk",
        table: str | None = None,
        alpha: NonNegative = 1.0,
        beta: Positive = 1.0,
        temperature: Positive = 0.1,
        floor: UnitInterval = 0.1,
    ) -> None:
        super().__init__()
        self.table = affinity_table(affinity, table, num_classes, num_samples)
        self.affinity = affinity if self.table is None else None
        self.bound_to_classes = affinity == "classes"
        self.alpha, self.beta, self.temperature, self.floor = alpha, beta, temperature, floor

    @classmethod
    def check(cls, arguments: Mapping[str, Any]) -> None:
        check_affinity(arguments)
        if arguments["alpha"] > arguments["beta"]:
            rule = f"a weight may fall below 0 then; set it to at most beta={arguments['beta']}"
            raise ArgumentError("alpha", arguments["alpha"], rule)

    def weigh_pairs(self, comparison: Comparison, pairs: Pairs) -> Pairs:
        affinity = comparison.affinity if self.table is None else self.table(comparison)
        weights = self._weights(precise(affinity), pairs.negative)
        before = pairs.negative_weights
        return replace(pairs, negative_weights=weights if before is None else before * weights)

    def _weights(self, affinity: Tensor, negative: Tensor) -> Tensor:
        chances, _ = masked_softmax(affinity / self.temperature, numbers(negative, affinity.dtype))
        count = negative.sum(1, keepdim=True).clamp_min(1).to(affinity.dtype)
        even = self.beta - self.alpha / count
        weights = (self.beta - self.alpha * chances) / torch.where(even > 0, even, 1)
        return torch.where((even > 0) & negative, weights, 1).clamp_min(self.floor)
