"""Multi-class N-pair loss."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from metriscope.objectives.arguments import Positive
from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.kernels.rules import Inputs, Rule
from metriscope.objectives.kernels.softmax import likelihood
from metriscope.objectives.losses.softmax.tempered import Share, TemperedLoss
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs, RowPairs, Selection


def _places(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Per entry (R,), as float32: the number of earlier entries of its class, and the size of its class."""
    ordered, order = labels.sort(stable=True)
    first = torch.searchsorted(ordered, labels)
    size = torch.searchsorted(ordered, labels, right=True) - first
    position = torch.empty_like(order).scatter_(0, order, torch.arange(len(labels), device=labels.device))
    return (position - first).float(), size.float()


def _may_look(comparison: Comparison) -> bool:
    """Whether shapes may depend on labels."""
    return comparison.anchors.labels.device.type == "cpu" and not torch.compiler.is_compiling()


def _first_pairs(comparison: Comparison) -> tuple[Tensor, Tensor]:
    """The first sample of each class, as an anchor (b,), and the second, as a reference (r,)."""
    labels = comparison.references.labels
    ordered, order = labels.sort(stable=True)
    same = ordered[1:] == ordered[:-1]
    # The second entry of a class has the class of the entry before it, which differs from the class of the entry
    # before that.
    second = same.clone()
    second[1:] &= ~same[:-1]
    place = second.nonzero().squeeze(1)
    rows, columns = order[place], order[place + 1]
    known = labels[columns] >= 0
    rows = rows - comparison.first
    return rows[known & (rows >= 0) & (rows < len(comparison.anchors.labels))], columns[known]


class NPairLoss(TemperedLoss):
    """Mean over anchors of log(1 + sum_{j != i} exp((s(a_i, p_j) - s(a_i, p_i)) / t)), a pair (a_j, p_j) per class.

    Sohn: Improved Deep Metric Learning with Multi-class N-pair Loss Objective, NIPS 2016, L_N-pair-mc: the positive of
    an anchor against one sample of every other class. s is the cosine similarity: the paper's inner
    product for embeddings on the unit sphere, where its penalty on their length is constant. The paper's batches hold
    one pair of each class. For larger batches, ``anchors`` defines the pairs:

    - ``all``: every sample is an anchor. The positive of the k-th sample of a class is the (k+1)-th, cyclically, and
      its negatives are the (k+1)-th of each other class, cyclically.
    - ``first``: only the first sample of each class is an anchor and only the second a positive, as in the paper and in
      pytorch-metric-learning's ``NPairsLoss``, which the loss then equals. Of 512 samples in 10 classes 20 take part.

    On a CPU and uncompiled, ``first`` compares only these samples; otherwise the full matrix is computed and masked,
    because shapes must not depend on labels.

    Further references (a memory) come after the batch in this order; those that are negatives alone have no place in it
    and are negatives of every anchor of another class. Classes with a single sample take no part.

    Where sides decide (``pairs_across``), samples of a class are counted on each side by itself. Between sides
    (``other``), the partner of the k-th of one side is the k-th of the other, which is the sample's own partner where
    both sides have one order, and so are negatives; with ``first`` only the first of each class and side take part.

    Args:
        temperature: t, above 0; 1 in the paper.
        anchors: ``all`` or ``first``.
        smoothing: e, the share of the target that is spread evenly over the positive and the negatives, below 1. None
            for 0.
        learn_temperature: whether t is learned, from ``temperature`` on and without bounds, with the loss's learning
            rate (``optimizer.lr_loss``); the part ``temperature`` tells it. None for no.

    With ``anchors=all``, ``smoothing=0.1``, a learned temperature that begins at 0.07 and two samples of each class in
    a batch, it is the symmetric InfoNCE of Deuser et al., Sample4Geo, arXiv:2303.11851 (as read in the authors' code).

    ``terms`` are the anchors of the mean, all of them active.
    """

    accepts = frozenset({"none"})
    hinge = False
    paper = "Sohn, NIPS 2016"

    def __init__(
        self,
        temperature: Positive = 1.0,
        anchors: Literal["all", "first"] = "all",
        smoothing: Share | None = None,
        learn_temperature: bool | None = None,
    ) -> None:
        super().__init__(temperature, learn_temperature, smoothing)
        self.anchors = anchors

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        alone = comparison.negatives_only is None and comparison.across is None
        if self.anchors == "first" and alone and _may_look(comparison):
            return self.told(self._one_each(comparison.among(*_first_pairs(comparison))))
        partners, learned = RowPairs(self._partners(comparison)), tuple(self.parameters())
        # Slopes by hand know neither soft targets nor what is learned.
        by_hand = not self.smoothing and not learned
        rule = likelihood(self.temperature) if by_hand else Rule(self.likelihood, plain=True)
        return self.told(mean_over_anchors(comparison, partners, rule, inputs=Inputs(parameters=learned)))

    def _partners(self, comparison: Comparison) -> Callable[[Block], Pairs]:
        labels, apart = comparison.references.labels, comparison.negatives_only
        ranked, sides = labels if apart is None else labels.masked_fill(apart, -1), comparison.sides
        if sides is not None:
            ranked = torch.where(ranked >= 0, 2 * ranked + sides.given, -1)
        place, size = _places(ranked)
        # On its own side a sample has another for a partner; on the other side, the one of its own place.
        further = 0 if comparison.across == "other" else 1
        first = comparison.first

        def choose(block: Block) -> Pairs:
            own = place[first + block.rows.start : first + block.rows.stop].unsqueeze(1)
            if self.anchors == "first":
                partner = (own == 0) & (place == further)
            else:
                # Whole numbers below 2**24 are exact in float32, where division is several times as fast.
                turns = torch.floor((own + further) / size)
                partner = (own + further - turns * size == place) & (size > further)
            pushed = partner if apart is None else partner | apart
            return Pairs(partner & block.positive, pushed & block.negative)

        return choose

    def _one_each(self, comparison: Comparison) -> LossOutput:
        """One anchor and one positive per class: a (b, r) matrix with exactly one positive per row."""
        logits = self.logits(comparison.similarities)
        anchors, positives = logits.shape
        terms = torch.tensor(anchors if positives > 1 else 0, device=logits.device)
        if not anchors:
            return LossOutput(logits.sum(), terms, terms, {})
        targets = comparison.positive.view(torch.int8).argmax(1)
        value = F.cross_entropy(logits, targets, label_smoothing=self.smoothing)
        return LossOutput(value, terms, terms, {})
