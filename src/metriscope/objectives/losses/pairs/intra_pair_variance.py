"""Intra-pair variance loss."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from metriscope.objectives.arguments import UnitInterval
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import Judged, Rows, Rule
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection, unbanded


class IntraPairVarianceLoss(Loss):
    """Mean over positives of max(0, (1 - e+) m+ - s)^2, and over negatives of max(0, s - (1 + e-) m-)^2, added.

    s is the cosine similarity, m+ and m- its means over all positive and over all negative pairs of the batch. The
    second part of the tuplet margin loss of Yu and Tao, ICCV 2019 (as read in pytorch-metric-learning, not in the
    paper): ``loss=sum`` adds it to ``tuplet_margin``.

    The gradient flows through both means, so that each pair has a slope, which three passes over the pairs give without
    a matrix of them: means, sums of hinges, and the loss.

    Equal to pytorch-metric-learning's ``IntraPairVarianceLoss``, which is 0 for a batch with at most one pair of
    each kind.

    Args:
        positive_epsilon, negative_epsilon: e+ and e-, shares of the means, from 0 to 1.

    ``terms`` are all pairs, ``active`` those with a non-zero hinge.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    hinge = False
    paper = "Yu & Tao, ICCV 2019"

    def __init__(self, positive_epsilon: UnitInterval = 0.01, negative_epsilon: UnitInterval = 0.01) -> None:
        super().__init__()
        self.positive_epsilon = positive_epsilon
        self.negative_epsilon = negative_epsilon

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        chosen = unbanded(selection)
        comparison.hold()
        factors = (1 - self.positive_epsilon, -1 - self.negative_epsilon)
        with torch.no_grad():
            sums = over_rows(comparison, chosen, _rule(_similarities))
            terms = sums.sizes.sum(0)
            counts = terms.clamp_min(1).double()
            # Bounds of the hinges: (1 - e+) m+ and -(1 + e-) m-.
            bounds = [by * total / count for by, total, count in zip(factors, sums.totals, counts, strict=True)]
            hinges = over_rows(comparison, chosen, _rule(lambda rows: _hinges(rows, bounds)))
            # What the mean of each kind adds to the slope of each of its pairs.
            slopes = [2 * by * total / count for by, total, count in zip(factors, hinges.totals, counts, strict=True)]
        found = over_rows(comparison, chosen, _rule(lambda rows: _squares(rows, bounds, slopes), counted=True))
        return found.output((1 / counts).unbind(), found.active.sum(), terms.sum(), {})


def _rule(judge: Callable[[Rows], Judged], counted: bool = False) -> Rule:
    return Rule(judge, sums=2, counts=2 * counted, complete=False, plain=True)


def _similarities(rows: Rows) -> Judged:
    return Judged(torch.stack([(rows.values * mask).sum(1) for mask in (rows.positive, rows.negative)], 1))


def _excess(rows: Rows, bounds: Sequence[Tensor]) -> list[Tensor]:
    """The hinges of positives and of negatives, (r, R) each, 0 for other pairs."""
    sides = ((bounds[0] - rows.values, rows.positive), (bounds[1] + rows.values, rows.negative))
    return [excess.clamp_min(0) * mask for excess, mask in sides]


def _hinges(rows: Rows, bounds: Sequence[Tensor]) -> Judged:
    return Judged(torch.stack([one.sum(1) for one in _excess(rows, bounds)], 1))


def _squares(rows: Rows, bounds: Sequence[Tensor], slopes: Sequence[Tensor]) -> Judged:
    """Sums of squares; what the means add to their slopes has the value 0."""
    hinges, moved = _excess(rows, bounds), rows.values - rows.values.detach()
    sides = zip(hinges, slopes, (rows.positive, rows.negative), strict=True)
    losses = torch.stack([(one.square() + slope * moved * mask).sum(1) for one, slope, mask in sides], 1)
    return Judged(losses, active=torch.stack([(one > 0).sum(1) for one in hinges], 1))
