"""Dynamic bad pair mining: samples whose loss has been far from that of others count less."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from metriscope.errors import InputError
from metriscope.objectives.arguments import Count, Positive, UnitInterval
from metriscope.objectives.output import Account
from metriscope.objectives.samples import Moment
from metriscope.objectives.state import SampleState
from metriscope.objectives.weightings.base import Weighting


class Judgement(NamedTuple):
    """What a history of losses says of each training sample.

    Attributes:
        means: (N,) float64, the mean loss of each sample; 0 for samples that have had none.
        seen: (N,) bool, the samples that have had a loss.
        kind: (N,) int8, 1 for samples that are too hard, -1 for those that are too easy, 0 for others.
        mean, deviation: scalars float64, of the mean losses of the samples seen.
    """

    means: Tensor
    seen: Tensor
    kind: Tensor
    mean: Tensor
    deviation: Tensor


class DynamicBadPairWeighting(Weighting):
    """Anchors whose mean loss of the past is far from that of others count less.

    At the start of each epoch after the warm-up, m_i is the mean of the losses that sample i has had so far, as an
    anchor, with mu and sd the mean and the standard deviation of m over the samples seen. A sample is bad where

        m_i <= mu - easy sd  (too easy: a duplicate)  or  m_i >= mu + hard sd  (too hard: a wrong label, an outlier).

    The loss L of a bad sample is multiplied by exp(-(L - mu)^2 / (2 sd^2)), at most 1, and the loss of another by 1.
    ``kernel=density`` divides the factor by sd sqrt(2 pi), the density of the paper, which may exceed 1. The sum is
    divided by the number of terms, not by the sum of the factors.

    Lan et al., arXiv:2302.03357: read in the authors' code and in a summary of the paper's equations; the bounded
    kernel is an adaptation. There a term is a pair of two views of one image; here it is an anchor, with the mean of
    its loss over its positives. The authors' code weighs the epochs before it takes their mean, and then measures a
    loss that is not weighed on this scale; here the plain mean is taken, as in the paper.

    Losses of the warm-up count in the history. A sample that is drawn twice in an epoch counts twice, and an anchor
    without a term not at all. Nothing is bad where all means are equal, or nothing has been seen.

    ``bad_easy_share`` and ``bad_hard_share``, logged in training, are shares of all training samples, and
    ``weight_mean`` is the mean factor of the anchors that count. The state is O(N); a step costs O(B), the first of an
    epoch O(N).

    Args:
        num_samples: N.
        epochs: number of epochs of the whole training, at least 1.
        warmup_share: share of the epochs in which all weights are 1, from 0 to 1.
        easy, hard: how many standard deviations below and above the mean are too far, above 0.
        kernel: ``bounded`` or ``density``.

    Raises:
        InputError: in :meth:`observe`, a loss that does not say what each anchor costs.
    """

    weighs = frozenset({"rows"})
    paper = "arXiv:2302.03357"
    kind: Tensor
    mean: Tensor
    deviation: Tensor
    epoch: Tensor

    def __init__(
        self,
        num_samples: Count,
        epochs: Count = 10,
        warmup_share: UnitInterval = 0.3,
        easy: Positive = 2.0,
        hard: Positive = 3.0,
        kernel: Literal["bounded", "density"] = "bounded",
    ) -> None:
        super().__init__()
        self.weighs_from = math.ceil(warmup_share * epochs)
        self.easy, self.hard, self.kernel = easy, hard, kernel
        self.history = SampleState(num_samples, total=0.0, count=0.0)
        # What the start of an epoch has found, so that a run resumed within it continues exactly.
        self.register_buffer("kind", torch.zeros(num_samples, dtype=torch.int8))
        self.register_buffer("mean", torch.zeros((), dtype=torch.float64))
        self.register_buffer("deviation", torch.ones((), dtype=torch.float64))
        self.register_buffer("epoch", torch.full((), -1, dtype=torch.int64))
        # The same on the host, which then does not wait for a device; None after a checkpoint was loaded.
        self._epoch: int | None = -1
        self.register_load_state_dict_post_hook(_forget_epoch)  # type: ignore[no-untyped-call]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.mean, self.deviation = self.mean.double(), self.deviation.double()
        return self

    def judged(self) -> Judgement:
        """What the losses so far say of each sample."""
        total, count = (column.double() for column in self.history.columns("total", "count"))
        seen = count > 0
        means = total / count.clamp_min(1)
        number = seen.sum().clamp_min(1)
        mean = means.sum() / number
        deviation = ((means - mean).square() * seen).sum().div(number).sqrt()
        # The rounding error of the mean is no deviation.
        spread = means.masked_fill(~seen, -math.inf).amax() > means.masked_fill(~seen, math.inf).amin()
        hard = seen & spread & (means >= mean + self.hard * deviation)
        easy = seen & spread & (means <= mean - self.easy * deviation)
        kind = hard.to(torch.int8) - easy.to(torch.int8)
        return Judgement(means, seen, kind, mean, torch.where(spread, deviation, torch.ones_like(deviation)))

    def weigh_rows(self, losses: Tensor, index: Tensor, moment: Moment) -> Tensor:
        ones = torch.ones_like(losses)
        if moment.epoch < self.weighs_from:
            return ones
        kind, mean, deviation = self._at_start_of(moment.epoch)
        bad = (kind[index.clamp_min(0)] != 0) & (index >= 0)
        factors = torch.exp(-0.5 * ((losses - mean) / deviation).square())
        if self.kernel == "density":
            factors = factors / (deviation * math.sqrt(2 * math.pi))
        return torch.where(bad.unsqueeze(1), factors.to(losses.dtype), ones)

    def _at_start_of(self, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        """Kind (N,), mean and deviation; the first step of an epoch finds them, and :meth:`observe` keeps them."""
        if self._epoch is None:
            self._epoch = int(self.epoch)
        if self._epoch == epoch:
            return self.kind, self.mean, self.deviation
        found = self.judged()
        return found.kind, found.mean, found.deviation

    def parts(self, account: Account, moment: Moment) -> dict[str, Tensor]:
        costs, counts = _of_anchors(account)
        counted = counts > 0
        factors = self.weigh_rows(costs.unsqueeze(1), account.comparison.anchors.index, moment).squeeze(1)
        weights = (factors * counted).sum() / counted.sum().clamp_min(1)
        kind = self._at_start_of(moment.epoch)[0] if moment.epoch >= self.weighs_from else self.kind
        return {
            "weight_mean": weights,
            "bad_easy_share": (kind == -1).float().mean(),
            "bad_hard_share": (kind == 1).float().mean(),
        }

    @torch.no_grad()
    def observe(self, account: Account, moment: Moment) -> None:
        costs, counts = _of_anchors(account)
        if self._epoch != moment.epoch and moment.epoch >= self.weighs_from:
            for name, found in zip(("kind", "mean", "deviation"), self._at_start_of(moment.epoch), strict=True):
                getattr(self, name).copy_(found)
        self.epoch.fill_(moment.epoch)
        self._epoch = moment.epoch
        index = torch.where(counts > 0, account.comparison.anchors.index, -1)
        self.history.add("total", index, costs)
        self.history.add("count", index, torch.ones_like(costs))


def _forget_epoch(part: DynamicBadPairWeighting, keys: Any) -> None:
    part._epoch = None


def _of_anchors(account: Account) -> tuple[Tensor, Tensor]:
    costs, counts = account.output.costs, account.output.counts
    if costs is None or counts is None:
        raise InputError(
            f"{type(account.loss).__name__} does not say what each anchor costs, which weighting=dbpm needs"
        )
    return costs, counts
