"""The base class of contrastive losses over the data set, whose sum over negatives is remembered for each sample."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Count
from metriscope.objectives.comparison import Comparison
from metriscope.objectives.kernels.rows import over_rows
from metriscope.objectives.kernels.rules import Inputs, Judged, Rows, Rule
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.numerics import masked_softmax, mean_of
from metriscope.objectives.output import Account, LossOutput
from metriscope.objectives.samples import Moment
from metriscope.objectives.selection import Selection, unbanded
from metriscope.objectives.state import SampleState, averaged

Momentum = Annotated[float, Field(gt=0, le=1)]


class GlobalContrastiveLoss(Loss):
    """Base class: mean over anchors i of t_i (log u_i + rho) - mean_p s_ip, u_i a moving average for each sample.

    A subclass says what a sample's temperature is, and may learn from g_i = log u_i + rho - sum_n w_in s_in / t_i. See
    ``sogclr`` for u and w. The value is the estimate of the objective; its gradient is that of a surrogate, with w held
    fixed, so the formula has the value of the one and the slopes of the other. What the state becomes is found with the
    loss and committed by :meth:`observe`.

    Args:
        num_samples: of the training set; None where there is none, so that nothing is remembered.
        gamma: weight of the batch in the moving average, above 0 and at most 1.
        rho: added to log u.
        beginning: what samples start from, by the name of the number, beside u.
    """

    accepts = frozenset({"all", "pairs", "triplets"})
    weighable = frozenset({"pairs", "rows"})
    hinge = False

    def __init__(self, num_samples: Count | None, gamma: Momentum, rho: float = 0.0, **beginning: float) -> None:
        super().__init__()
        self.remembers = num_samples is not None
        self.gamma = gamma
        self.rho = rho
        # There is no average before the first visit.
        self.state = SampleState(num_samples or 1, log_mean=-math.inf, **beginning)

    def temperatures(self, index: Tensor) -> Tensor:
        """(B,) index, -1 where nothing is known of a sample -> (B,) temperatures."""
        raise NotImplementedError

    def learn(self, index: Tensor, excess: Tensor) -> None:
        """Commit what else there is, of anchors (B,) with an index as of :meth:`temperatures`, by their g (B,)."""

    def formula(self, rows: Rows) -> Judged:
        """The objective of some anchors with the gradient of the surrogate; further columns are :meth:`forward`'s."""
        assert rows.anchors is not None
        temperature, before = rows.anchors.detach().tensor_split(2, 1)
        logits = rows.values.detach() / temperature
        chances, log_total = masked_softmax(logits, rows.negative, rows.weighed)
        # Anchors that do not count give anything finite.
        log_now = torch.where(rows.share > 0, log_total - rows.negative.sum(1, keepdim=True).log(), 0)
        keep = math.log1p(-self.gamma) if self.gamma < 1 else -math.inf
        both = torch.logaddexp(before + keep, log_now + math.log(self.gamma))
        log_mean = torch.where(before == -math.inf, log_now, both)
        weights = chances * (log_now - log_mean).exp()
        pull = mean_of(rows.values, rows.positive)
        surrogate = (weights * rows.values).sum(1, keepdim=True) - pull
        objective = temperature * (log_mean + self.rho) - pull.detach()
        excess = log_mean + self.rho - (weights * logits).sum(1, keepdim=True)
        divergence = (chances * logits).sum(1, keepdim=True) - log_now
        told = [log_mean, excess, (log_mean - log_now).abs(), divergence]
        return Judged(torch.cat([objective + (surrogate - surrogate.detach()), *told], 1))

    def forward(self, comparison: Comparison, selection: Selection) -> LossOutput:
        index, dtype = self.known(comparison.anchors.index), comparison.prepared[0].dtype
        columns = torch.stack([self.temperatures(index), self.state.read("log_mean", index)], 1).to(dtype)
        rule = Rule(self.formula, reported=4, plain=True)
        found = over_rows(comparison, unbanded(selection), rule, Inputs(columns))
        terms = found.valid.sum()
        scale = 1 / terms.clamp_min(1).double()
        lag, divergence = (found.losses[:, 3:].sum(0) * scale.to(dtype)).unbind()
        parts = {"estimate_lag": lag, "negative_divergence": divergence}
        output = found.output(scale, terms, terms, parts)
        pending = torch.cat([found.losses[:, 1:3], found.valid.to(dtype)], 1)
        return output._replace(rows=found.losses[:, 0], counts=found.valid.squeeze(1).long(), pending=pending)

    @torch.no_grad()
    def observe(self, account: Account, moment: Moment) -> None:
        pending = account.output.pending
        if pending is None or not len(pending):
            return
        log_mean, excess, valid = pending.unbind(1)
        index = torch.where(valid > 0, self.known(account.comparison.anchors.index), -1)
        # The average of a repeated sample is one of exponentials, which are below 1 so that they fit.
        top = log_mean.double().max()
        means = averaged(index, (log_mean.double() - top).exp())
        self.state.write("log_mean", index, means.clamp_min(torch.finfo(torch.float64).tiny).log() + top)
        self.learn(index, excess)

    def known(self, index: Tensor) -> Tensor:
        """(B,) index, -1 where nothing is remembered."""
        return index if self.remembers else torch.full_like(index, -1)
