"""SimLAP: samples of two classes are alike in some features, which a learned gate of the pair of classes chooses."""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from metriscope.objectives.arguments import Count, Positive
from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.base import precise
from metriscope.objectives.distances.products import DotProducts
from metriscope.objectives.kernels.rows import mean_over_anchors
from metriscope.objectives.kernels.softmax import one_among_negatives
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.losses.classes.proxies import Own, own_classes
from metriscope.objectives.losses.softmax.multi_view import groups_of
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs, RowPairs, Selection
from metriscope.unit import unit_rows

Partners = Literal["arbitrary", "identical", "distinct"]


class SimLAPLoss(Loss):
    """Mean over (i, p) with y_p = b_i of log(e^{l_ip} + sum_n e^{l_in}) - l_ip, n of neither class y_i nor b_i.

    Rethinking positive pairs, arXiv:2410.18200 (an earlier version is named Hydra; verified in the authors' code, of
    which the newer version is taken; the paper was not read, and its penalty on gates is not in that code). b_i is a
    partner class of anchor i, and l_in = s sum_d g_d^2 z_id z_nd the similarity of unit embeddings in the features that
    the gate g(y_i, b_i) of both classes lets pass. So samples of two classes are positives of each other, as far as a
    gate finds something that they share. g(a, b) = sigmoid(MLP((e_a + e_b) / 2)) in (0, 1)^D, e an embedding of each
    class; e, the MLP and s = e^{s'} are learned, with the loss's learning rate (``optimizer.lr_loss``). Evaluation
    knows no gates.

    - ``pairs=arbitrary``: b_i is the class of another sample, by a random permutation of the batch. ``identical``:
      b_i = y_i. ``distinct``: another class of the batch, each as likely.
    - Keys are all other samples, those of a memory too; samples of class y_i are neither positives nor negatives unless
      b_i = y_i. Where each image of the batch is there at least twice (``sampler.views=2``), they are those of other
      views. (The authors' anchors are the first view, their keys the second.)
    - Anchors without a positive or without a negative are left out, and their pairs do not count.
    - The MLP is layer norm, linear, ReLU, layer norm, linear, after a ReLU. The authors have batch norm; with layer
      norm a gate depends on its two classes alone, and one sample is a batch. With C classes there are C (C + 1) / 2
      gates, of which few are trained in a step.

    Partners are drawn in validation too, by its own generator. O(B R D), one pass over the pairs, and O(B) rows of the
    MLP; nothing of size B x R is kept. pytorch-metric-learning has no such loss.

    Args:
        num_classes: C; class c has label c. Samples with another label have no term and are no keys.
        embedding_size: D.
        temperature: 1 / s at the beginning, above 0.
        pairs: ``arbitrary``, ``identical`` or ``distinct``.
        class_size: of the class embeddings, at least 1.
        hidden: width of the MLP, at least 1.

    ``terms`` are the pairs of the mean, all of them active. Parts: ``temperature`` is 1 / s, ``gate_mean`` the mean of
    g over anchors and features, ``gate_entropy`` that of its entropy in bits: 1 at g = 1/2, 0 where gates are open or
    closed.

    >>> from metriscope.losses import SimLAPLoss
    >>> loss = SimLAPLoss(3, 2, pairs="identical", class_size=4, hidden=8)
    >>> bool(loss(torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]), torch.tensor([0, 0, 1])) > 0)
    True
    """

    needs_cosines = True
    accepts = frozenset({"none"})
    hinge = False
    paper = "arXiv:2410.18200"
    bound_to_classes = True

    def __init__(
        self,
        num_classes: Count,
        embedding_size: Count,
        temperature: Positive = 0.1,
        pairs: Partners = "arbitrary",
        class_size: Count = 512,
        hidden: Count = 1024,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.pairs = pairs
        self.classes = nn.Embedding(num_classes, class_size)
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.LayerNorm(class_size),
            nn.Linear(class_size, hidden),
            nn.ReLU(),
            nn.LayerNorm(hidden),
            nn.Linear(hidden, embedding_size),
            nn.Sigmoid(),
        )
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        anchors, references = comparison.anchors, comparison.references
        own, keys = (own_classes(samples.labels, self.num_classes) for samples in (anchors, references))
        partner = self.partners(own, comparison.moment.generator)
        with torch.autocast(own.column.device.type, enabled=False):
            z = unit_rows(precise(anchors.embeddings))
            others = z if references is anchors else unit_rows(precise(references.embeddings))
            gates = self.gates(own.column, partner.column).to(z.dtype)
            gated = self.log_scale.exp().to(z.dtype) * z * gates.square()
        within = Comparison(
            anchors._replace(embeddings=gated),
            [Segment(references._replace(embeddings=others))],
            DotProducts(),
            comparison.moment,
            first=comparison.first,
            memory_mb=comparison.memory_mb,
            ranks=comparison.ranks,
        )
        chosen = RowPairs(_pairs(comparison, own, partner, keys))
        output = mean_over_anchors(within, chosen, one_among_negatives(1.0), per_pair=True)
        return output._replace(parts=self._told(gates.detach(), own.known))

    def gates(self, first: Tensor, second: Tensor) -> Tensor:
        """Classes (n,) and (n,) -> (n, D), between 0 and 1; the order of both does not matter."""
        gates: Tensor = self.layers((self.classes(first) + self.classes(second)) / 2)
        return gates

    def partners(self, own: Own, generator: torch.Generator | None) -> Own:
        """The partner class of each sample; one that is not known where there is none."""
        column, known = own.column, own.known
        if self.pairs == "identical" or not len(column):
            return own
        if self.pairs == "arbitrary":
            order = torch.randperm(len(column), generator=generator).to(column.device)
            known = known & known[order]
            return Own(column[order] * known, known, known.sum())
        # The classes of the batch, each at the place of its first sample in the order of labels.
        ordered, order = torch.where(known, column, self.num_classes).sort(stable=True)
        first = torch.ones_like(known)
        first[1:] = ordered[1:] != ordered[:-1]
        first &= ordered < self.num_classes
        place = torch.empty_like(order).scatter_(0, order, first.cumsum(0) - 1)
        classes = ordered[(~first).to(torch.int8).sort(stable=True).indices]
        others = first.sum() - 1
        shares = torch.rand(len(column), generator=generator, dtype=torch.float64).to(column.device)
        drawn = torch.minimum((shares * others).long(), others - 1).clamp_min(0)
        known = known & (others > 0)
        return Own(classes[drawn + (drawn >= place)] * known, known, known.sum())

    def _told(self, gates: Tensor, known: Tensor) -> dict[str, Tensor]:
        count = known.sum().clamp_min(1) * gates.shape[1]
        entropy = -(torch.xlogy(gates, gates) + torch.xlogy(1 - gates, 1 - gates)) / math.log(2)
        shown = known.unsqueeze(1)
        means = {"gate_mean": gates, "gate_entropy": entropy}
        told = {name: (numbers * shown).sum() / count for name, numbers in means.items()}
        return {**told, "temperature": (-self.log_scale.detach()).exp()}


def _pairs(comparison: Comparison, own: Own, partner: Own, keys: Own) -> Callable[[Block], Pairs]:
    """Chooses keys of the partner class for positives, and those of neither class for negatives."""
    batch = comparison.anchors
    groups = groups_of(batch, "images")
    place = groups.place
    several = ((groups.sums(torch.ones_like(place)) > 1) | ~own.known).all()
    columns = torch.arange(comparison.shape[1], device=place.device)
    # Samples of a memory are views of their own.
    views = torch.full_like(columns, -1)
    views[comparison.first : comparison.first + len(place)] = place

    def choose(block: Block) -> Pairs:
        rows = block.rows
        itself = columns == comparison.first + columns[rows].unsqueeze(1)
        there = keys.known & ~itself & ~(several & (views == place[rows].unsqueeze(1)))
        there = there & (own.known & partner.known)[rows].unsqueeze(1)
        of_own = keys.column == own.column[rows].unsqueeze(1)
        of_partner = keys.column == partner.column[rows].unsqueeze(1)
        return Pairs(there & of_partner, there & ~of_partner & ~of_own)

    return choose
