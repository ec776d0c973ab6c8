"""Continuously weighted contrastive loss (CWCL)."""

import torch
from torch import Tensor

from metriscope.objectives.arguments import Positive, UnitInterval
from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.kernels.rules import Rows, Rule
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.numerics import log_sum_exp, mean_of, numbers
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs, RowPairs, Selection, pairs_of, unbanded


class CWCLLoss(Loss):
    """Mean over anchors i of -sum_j (w_ij / sum_k w_ik) log(exp(s_ij / t) / sum_k exp(s_ik / t)).

    j and k run over all others, s is the cosine similarity, and the target w_ij is 1 for a sample of the same class,
    l k(a_ij) for another: a is the cosine similarity of the pair in the trunk's features, without gradient, and k(a) is
    exp((a - 1) / T), or (a + 1) / 2 without T. Srinivasa et al., arXiv:2309.14580 (its equations were read in works
    that cite it, not in the paper, which has no code). The paper trains one tower by the affinity (a + 1) / 2 of
    another, frozen one: that is ``use_labels=false affinity_temperature=null`` with ``backbone.freeze=true``, without
    the diagonal and without its second direction, a plain softmax. T, with which unlike samples weigh next to nothing,
    and labels are an extension: with (a + 1) / 2, unrelated samples weigh 1/2, and in large batches targets are almost
    uniform.

    With l = 0 it equals ``supcon``, but for anchors without a negative, which ``supcon`` leaves out. Anchors whose
    targets are all 0 are left out here.

    The affinity comes from the trunk of a run. By itself, outside of a run, the loss takes a :class:`Comparison` of
    samples with ``affine``. It is found for a few anchors at a time; no matrix is kept.

    Args:
        temperature: t, above 0.
        target_weight: l, from 0 to 1.
        affinity_temperature: T, above 0; None for (a + 1) / 2.
        use_labels: whether samples of one class are full targets; without, w = k(a) for all, and l does not count.

    ``terms`` are the anchors of the mean, all of them active.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    weighable = frozenset({"rows"})
    hinge = False
    paper = "arXiv:2309.14580"

    def __init__(
        self,
        temperature: Positive = 0.1,
        target_weight: UnitInterval = 0.3,
        affinity_temperature: Positive | None = 0.1,
        use_labels: bool = True,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.target_weight = target_weight
        self.affinity_temperature = affinity_temperature
        self.use_labels = use_labels
        self.affinity = "trunk" if target_weight or not use_labels else None

    def _judge(self, rows: Rows) -> Tensor:
        """Losses (r, 1) of some anchors, whose positives are those with a target, weighed by it."""
        logits = rows.values / self.temperature
        every = log_sum_exp(logits, rows.pulled + rows.negative)
        return (every - mean_of(logits, rows.positive)) * rows.pulled.amax(1, keepdim=True)

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        chosen = unbanded(selection)

        def choose(block: Block) -> Pairs:
            pairs = pairs_of(chosen, block) or Pairs(block.positive, block.negative)
            weights = self._targets(comparison, block, pairs)
            target, every = weights > 0, pairs.positive | pairs.negative
            return Pairs(every & target, every & ~target & target.any(1, keepdim=True), weights)

        rule = Rule(self._judge, complete=False, plain=True)
        return mean_over_anchors(comparison, RowPairs(choose), rule)

    @torch.no_grad()
    def _targets(self, comparison: Comparison, block: Block, pairs: Pairs) -> Tensor:
        """(r, R), 0 for what is no pair."""
        dtype = block.anchors.dtype
        positive, negative = numbers(pairs.positive, dtype), numbers(pairs.negative, dtype)
        if self.affinity is None:
            return positive
        affinity = comparison.affinity_of(block.rows).to(dtype).clamp(-1, 1)
        if self.affinity_temperature is None:
            likeness = (affinity + 1) / 2
        else:
            likeness = ((affinity - 1) / self.affinity_temperature).exp()
        if not self.use_labels:
            return likeness * (positive + negative)
        return positive + self.target_weight * likeness * negative
