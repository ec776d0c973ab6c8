"""Proxy-based contrastive replay (PCR): a softmax over the classes of the batch."""

from typing import NamedTuple

import torch
from torch import Tensor

from metriscope.objectives.arguments import Count, Positive
from metriscope.objectives.block import Block
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import Inputs, Rows, Rule
from metriscope.objectives.losses.classes.proxies import (
    Own,
    ProxyLoss,
    cosine_similarities,
    own_classes,
    own_scores,
    softmax_loss,
)
from metriscope.objectives.numerics import log_sum_exp
from metriscope.objectives.output import LossOutput
from metriscope.objectives.selection import Pairs, RowPairs, Selection


class Present(NamedTuple):
    """The classes of a batch.

    Attributes:
        classes: (K,) int64.
        counts: (K,) int64, their samples in the batch.
        own: the class of each sample among these K.
    """

    classes: Tensor
    counts: Tensor
    own: Own


class PCRLoss(ProxyLoss):
    """Mean over samples i of -s_iy / t + log sum_{c in the batch} n_c exp(s_ic / t).

    s_ic is the cosine of the sample and the vector of class c, y the class of i, and n_c how often class c is in the
    batch: every sample is compared with the vector of each sample's class. Lin et al., arXiv:2304.04408 (verified in
    the authors' code, FelixHuiweiLin/PCR, whose form is the supervised contrastive loss with these vectors for views).
    Vectors of other classes get no gradient, and cost nothing: of many classes, a batch holds few. In a batch with
    equally many samples of every class the gradient is that of ``normalized_softmax``.

    With ``samples`` (mode ``one`` of the authors), the denominator holds exp(s_ij / t) of each other sample j too, and
    the numerator is the mean of s / t over the n_y copies of the own vector and the positives of i; further references
    (a memory) are among the j.

    The paper adds old samples to each batch, which is left to the sampler. Its successor HPCR (arXiv:2309.15038) scales
    the loss by a schedule, which is a learning rate, and distils old outputs; neither is here. The authors
    divide by lengths plus 1e-6, this loss by lengths.

    Args:
        num_classes, embedding_size: see :class:`ProxyLoss`.
        temperature: t, above 0.
        samples: whether samples are compared with samples too.

    ``active`` and ``terms`` both count samples. A sample of no class of the loss has no term, and is in no denominator.
    With ``samples``, weights of pairs, as diagnostics show them, are those of pairs of samples.
    """

    paper = "arXiv:2304.04408"

    def __init__(
        self, num_classes: Count, embedding_size: Count, temperature: Positive = 0.09, samples: bool = False
    ) -> None:
        super().__init__(num_classes, embedding_size)
        self.temperature = temperature
        self.samples = samples

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        anchors = comparison.anchors
        present = _present(own_classes(anchors.labels, self.num_classes), self.num_classes)
        among = cosine_similarities(anchors.embeddings, self.proxies[present.classes])
        if self.samples:
            return self._with_samples(comparison, among, present)
        # Diagnostics know a class by its column.
        similarities = among.new_zeros(len(among), self.num_classes).index_copy(1, present.classes, among)
        prior = _log(present.counts, among.dtype)
        scores = similarities[:, present.classes] + self.temperature * prior
        output = softmax_loss(scores, present.own, 1 / self.temperature, similarities=similarities)
        # The own score has no prior.
        own_prior = (prior[present.own.column] * present.own.known).sum() / present.own.terms.clamp_min(1)
        return output._replace(value=output.value + own_prior)

    def _with_samples(self, comparison: Comparison, among: Tensor, present: Present) -> LossOutput:
        labels = comparison.references.labels
        known = (labels >= 0) & (labels < self.num_classes)
        own, logits = present.own, among / self.temperature
        count = present.counts[own.column].to(logits.dtype)
        by_classes = (logits + _log(present.counts, logits.dtype)).logsumexp(1)
        # What a row of similarities to samples does not say.
        numbers = torch.stack([by_classes, own_scores(logits, own), count, own.known.to(logits.dtype)], 1)

        def choose(block: Block) -> Pairs:
            return Pairs(block.positive & known, block.negative & known)

        rule = Rule(self._judge, complete=False, plain=True)
        found = over_rows(comparison, RowPairs(choose), rule, Inputs(anchors=numbers))
        return found.output(1 / own.terms.clamp_min(1).double(), own.terms, own.terms, {})

    def _judge(self, rows: Rows) -> Tensor:
        """Losses (r, 1) of some anchors, 0 for those of no known class."""
        assert rows.anchors is not None
        by_classes, own, count, known = torch.split(rows.anchors, 1, 1)
        logits = rows.values / self.temperature
        every = torch.logaddexp(by_classes, log_sum_exp(logits, rows.positive + rows.negative))
        pulled = count * own + (logits * rows.positive).sum(1, keepdim=True)
        targets = count + rows.positive.sum(1, keepdim=True)
        return (every - pulled / targets.clamp_min(1)) * known


def _present(own: Own, num_classes: int) -> Present:
    if own.column.device.type != "cpu" or torch.compiler.is_compiling() or not len(own.column):
        # The host would have to wait for the number of those that are there: all, some of them 0 times.
        classes, place = torch.arange(num_classes, device=own.column.device), own.column
    else:
        classes, place = torch.unique(own.column, return_inverse=True)
    counts = torch.zeros_like(classes).index_add(0, place, own.known.long())
    return Present(classes, counts, own._replace(column=place))


def _log(counts: Tensor, dtype: torch.dtype) -> Tensor:
    """Logarithms, that of 0 far below every logit and finite."""
    return torch.where(counts > 0, counts.clamp_min(1).to(dtype).log(), -torch.finfo(dtype).max / 8)
