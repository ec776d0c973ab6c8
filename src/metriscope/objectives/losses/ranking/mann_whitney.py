"""Mann-Whitney loss (MW): every positive pair against every negative pair."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Count, Positive
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.gradient import attach
from metriscope.objectives.kernels.histograms import NEGATIVE, POSITIVE
from metriscope.objectives.kernels.pairs_of_pairs import by_histograms, counts_of, densities, each_with_each
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.numerics import numbers
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, TripletBand, as_pairs, unbanded


class MannWhitneyLoss(Loss):
    """Mean over all positive pairs (i, p) and all negative pairs (a, n) of log(1 + exp(-(s_ip - s_an) / t)).

    Sheikholeslami et al., arXiv:2510.00137 (sections 3-5 were read; no code is known): s is the cosine similarity, and
    pairs of different anchors are compared as well, so that one threshold serves all of them. The loss over log 2
    bounds 1 - AUC of positive against negative pairs from above. An anchor without a positive still gives negative
    pairs. The mean is the paper's expectation, its equation 2; its equation 3, a batch of one positive per query, sums
    over negatives, without t: ``sum_negatives`` is the mean over positives of the sum over negatives, whose
    gradient grows with the batch.

    Up to ``pairs_limit`` pairs of pairs are compared each with each, in O(P N) for P positive and N negative pairs.
    Beyond that, similarities are shared between nodes that are t / ``bins_per_temperature`` apart, from -1 to 1, as in
    the histogram loss, in O(B R) and without a matrix: the value is up to 1 / (16 ``bins_per_temperature``^2) larger,
    and similarities beyond -1 and 1, of embeddings that are not normalised, count as these. A compiled graph, and a
    GPU, for whose counts the host would have to wait, compare (B R)^2 masked pairs of pairs, so they change to nodes at
    smaller batches.

    Each with each, a pair's slope depends on all pairs, so the matrix of distances is kept; it is small where this is
    done.

    Args:
        temperature: t, above 0; 0.01 in the paper, which fine-tunes.
        sum_negatives: whether to sum over negative pairs; the mean is then the part ``loss_mean``.
        pairs_limit: the most pairs of pairs that are compared each with each; 0 for none.
        bins_per_temperature: nodes in a temperature, at least 1.

    ``terms`` are the positive and negative pairs, all of them active; 0 unless there are both.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    paper = "arXiv:2510.00137"

    def __init__(
        self,
        temperature: Positive = 0.1,
        sum_negatives: bool = False,
        pairs_limit: Annotated[int, Field(ge=0)] = 1_000_000,
        bins_per_temperature: Count = 8,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.sum_negatives = sum_negatives
        self.pairs_limit = pairs_limit
        self.bins_per_temperature = bins_per_temperature

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        selection = unbanded(selection)
        counts = counts_of(comparison, selection)
        terms = counts.sum() * (counts > 0).all()
        # The sum of both reductions is one over all pairs of pairs.
        scale = 1 / counts[POSITIVE].clamp_min(1).double()
        mean = scale / counts[NEGATIVE].clamp_min(1)
        if self._are_few(comparison, counts):
            total = self._exact(comparison, selection)
            value = total * (scale if self.sum_negatives else mean).to(total.dtype)
            output = LossOutput(value, terms, terms, {})
        else:
            comparison.hold()
            bins = math.ceil(2 * self.bins_per_temperature / self.temperature)
            rule = by_histograms(densities(comparison, selection, bins), self.temperature)
            found = over_rows(comparison, selection, rule)
            (total,) = found.totals
            output = found.output(scale if self.sum_negatives else mean, terms, terms, {})
        parts = {"loss_mean": total.detach() * mean} if self.sum_negatives else {}
        return output._replace(parts=parts)

    def _are_few(self, comparison: Comparison, counts: Tensor) -> bool:
        """Whether each pair is compared with each; the host looks at the counts only where it need not wait."""
        if _by_masks(counts):
            return math.prod(comparison.shape) ** 2 <= self.pairs_limit
        return int(counts.prod()) <= self.pairs_limit

    def _exact(self, comparison: Comparison, selection: Selection) -> Tensor:
        """The sum over all pairs of pairs, attached to the graph."""
        matrix = comparison.similarities
        pairs, s = as_pairs(selection, comparison), matrix.detach()
        masks = pairs.positive, pairs.negative
        if _by_masks(s):
            own, others = ((s.flatten(), numbers(mask, s.dtype).flatten()) for mask in masks)
            found = each_with_each(own, others, self.temperature)
            slopes = (found.by_positives + found.by_negatives).view_as(s)
            return attach(found.total, [(matrix, slopes)])
        # Two samples of the batch are as similar one way as the other.
        anchors, references = comparison.prepared
        twice = anchors is references and isinstance(selection, TripletBand) and selection.pairs is None
        if twice:
            masks = masks[0].triu(), masks[1].triu()
        own, others = ((one, torch.ones_like(one)) for one in (s[mask] for mask in masks))
        found = each_with_each(own, others, self.temperature)
        slopes = torch.zeros_like(s)
        slopes[masks[0]], slopes[masks[1]] = found.by_positives, found.by_negatives
        if twice:
            # Each of the two kinds is there twice.
            return attach(4 * found.total, [(matrix, 2 * (slopes + slopes.T))])
        return attach(found.total, [(matrix, slopes)])


def _by_masks(x: Tensor) -> bool:
    """Whether shapes must not depend on the numbers of pairs."""
    return x.device.type != "cpu" or torch.compiler.is_compiling()
