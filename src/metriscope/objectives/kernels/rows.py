"""The row engine: losses that are functions of an anchor's row, with their gradients, without any matrix (B, R).

A rule turns the rows of a few anchors into their losses. The engine shows it one block of anchors after the other,
turns the slopes of the losses into gradients of embeddings at once, and keeps nothing of a block but those gradients:
time O(B R D), as of the matrix products alone, and memory O((B + R) D) and a block.
"""

import torch

from metriscope.objectives.comparison import Comparison
from metriscope.objectives.distances.base import Distance
from metriscope.objectives.kernels.engine import Engine
from metriscope.objectives.kernels.rules import NO_INPUTS, Inputs, Rule
from metriscope.objectives.kernels.sums import RowSums
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Selection


def over_rows(
    comparison: Comparison, selection: Selection, rule: Rule, inputs: Inputs = NO_INPUTS, *, per_pair: bool = False
) -> RowSums:
    """Applies a rule to the rows of all anchors, a block of them at a time.

    Args:
        comparison: of the anchors; its ``memory_mb`` bounds a block.
        selection: the pairs that count.
        rule: what a loss makes of the rows of some anchors.
        inputs: what else the rule depends on.
        per_pair: whether a row's loss is a sum over its positives, of which a weighting gets the mean.

    Raises:
        InputError: the rule gives losses of another shape, or the budget does not hold one row.
    """
    engine = Engine(comparison, selection, rule, inputs, per_pair)
    if torch.compiler.is_compiling() and not _traceable(comparison.distance, rule):
        return engine.at_once()
    return engine.in_blocks()


def _traceable(distance: Distance, rule: Rule) -> bool:
    """Whether all slopes have formulas: a traced graph cannot differentiate a part of itself."""
    return distance.pulls and not rule.plain and (rule.of_distances or distance.multiplies)


def mean_over_anchors(
    comparison: Comparison,
    selection: Selection,
    rule: Rule,
    *,
    per_pair: bool = False,
    inputs: Inputs = NO_INPUTS,
) -> LossOutput:
    """The mean of a rule over the anchors that have a positive and a negative or, if it is not ``complete``, either.

    Args:
        comparison, selection, rule, inputs: as of :func:`over_rows`.
        per_pair: whether a row's loss is a sum over its positives and the mean runs over positive pairs.

    Returns:
        A loss with ``active = terms``, the number of anchors or positive pairs in the mean.
    """
    found = over_rows(comparison, selection, rule, inputs, per_pair=per_pair)
    counted = found.valid.squeeze(1) if rule.complete else (found.sizes > 0).any(1)
    counts = found.sizes[:, 0] if per_pair else counted.long()
    terms = counts.sum()
    scale = 1 / terms.clamp_min(1).double()
    return found.output(scale, terms, terms, {})._replace(rows=found.losses.squeeze(1), counts=counts)
