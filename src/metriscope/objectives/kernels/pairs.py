"""Rules of losses of pairs, with slopes by hand; the losses hold the formulas.

How much faster a step is than with the formula stands with a rule, where ``benchmark.py kernels`` measures it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from metriscope.objectives.kernels.rules import Judged, Rows, Rule
from metriscope.objectives.numerics import above, masked_softmax, softplus, squares


def circle(margin: float, gamma: float) -> Rule:
    """log(1 + sum_n e^(gamma w_n (s_n - m)) sum_p e^(-gamma w_p (s_p - 1 + m))); twice as fast as the formula."""

    def judge(rows: Rows) -> Judged:
        s = rows.values
        pull = (1 + margin - s).clamp_min_(0).mul_(gamma)
        push = (s + margin).clamp_min_(0).mul_(gamma)
        pulls, log_pull = masked_softmax((1 - margin - s).mul_(pull), rows.positive, rows.weighed)
        pushes, log_push = masked_softmax((s - margin).mul_(push), rows.negative, rows.weighed)
        losses, slope = softplus(log_pull + log_push)
        slope *= rows.share
        return Judged(losses, (pushes.mul_(push.mul_(slope)).sub_(pulls.mul_(pull.mul_(slope))),))

    return Rule(judge)


def multi_similarity(alpha: float, beta: float, base: float) -> Rule:
    """Soft excesses over a base of positives below and of negatives above; 2.5 times as fast as the formula."""

    def judge(rows: Rows) -> Judged:
        pull, by_pull = _soft_excess(base - rows.values, rows.positive, rows, alpha)
        push, by_push = _soft_excess(rows.values - base, rows.negative, rows, beta)
        return Judged(pull + push, (by_push.sub_(by_pull),))

    return Rule(judge)


def _soft_excess(excess: Tensor, mask: Tensor, rows: Rows, sharpness: float) -> tuple[Tensor, Tensor]:
    """log(1 + sum e^(sharpness excess)) / sharpness of each row, and the anchors' share times its derivative."""
    chances, log_sum = masked_softmax(excess.mul_(sharpness), mask, rows.weighed)
    value, slope = softplus(log_sum)
    return value / sharpness, chances.mul_(slope * rows.share)


def active_hinges(margin: float, positive_margin: float) -> Rule:
    """How many hinges of pairs are above zero, of positives and of negatives; it has no loss."""

    def judge(rows: Rows) -> Judged:
        d = rows.values
        sides = above(d, positive_margin).mul_(rows.positive), above(-d, -margin).mul_(rows.negative)
        return Judged(d.new_zeros(len(d), 1), active=torch.stack([side.sum(1) for side in sides], 1).long())

    return Rule(judge, of_distances=True, counts=2, complete=False, plain=True)


def hinges(
    margin: float, positive_margin: float, squared: bool, scales: Sequence[float | Tensor], counted: bool
) -> Rule:
    """Hinges of pairs, with a scale for positives and one for negatives; beside it the sum without scales.

    Args:
        counted: whether the active hinges are known already.
    """

    def judge(rows: Rows) -> Judged:
        d = rows.values
        # Distances are not below 0.
        pulls = (d - positive_margin).clamp_min_(0).mul_(rows.positive) if positive_margin else d * rows.positive
        pushes = (margin - d).clamp_min_(0).mul_(rows.negative)
        signs = (pulls, pushes) if squared and counted else (above(pulls, 0), above(pushes, 0))
        active = None if counted else torch.stack([sign.sum(1) for sign in signs], 1).long()
        losses = torch.stack([squares(side) if squared else side.sum(1) for side in (pulls, pushes)], 1)
        up, down = (pulls, pushes) if squared else signs
        by_pull, by_push = (scale * 2 if squared else scale for scale in scales)
        total = losses[:, :1] * scales[0] + losses[:, 1:] * scales[1]
        both = torch.cat([total, losses.sum(1, keepdim=True)], 1)
        return Judged(both, (up.mul_(by_pull).sub_(down.mul_(by_push)),), active)

    return Rule(judge, of_distances=True, reported=1, counts=0 if counted else 2, complete=False)


def boundaries(margin: float, per_triplet: bool) -> Rule:
    """Hinges on both sides of a boundary, the anchor's number (r, 1); counts of positives and of negatives."""

    def judge(rows: Rows) -> Judged:
        assert rows.anchors is not None
        excess = rows.values - rows.anchors
        pulled = above(excess, -margin).mul_(rows.positive)
        pushed = above(-excess, -margin).mul_(rows.negative)
        active = torch.stack([pulled.sum(1), pushed.sum(1)], 1).long()
        if per_triplet:
            # A pair counts once for each pair of the other kind, in anchors that have both.
            times = rows.sizes.flip(1) * (rows.sizes > 0).all(1, keepdim=True)
            per_pull, per_push = torch.split(times.to(excess.dtype), 1, 1)
            pulled, pushed, active = pulled.mul_(per_pull), pushed.mul_(per_push), active * times
        weights = pulled.sub_(pushed)
        granted = active.sum(1, keepdim=True).to(excess.dtype) * margin
        losses = torch.linalg.vecdot(weights, excess).unsqueeze(1) + granted
        return Judged(losses, (weights,), active, -weights.sum(1, keepdim=True))

    return Rule(judge, of_distances=True, counts=2, complete=False)


def log_sums(margin: float) -> Rule:
    """max(0, log sum_p e^d_p + log sum_n e^-d_n + margin), with one count."""

    def judge(rows: Rows) -> Judged:
        pulls, pull = masked_softmax(rows.values, rows.positive, rows.weighed)
        pushes, push = masked_softmax(-rows.values, rows.negative, rows.weighed)
        excess = pull + push + margin
        active = (excess > 0) & (rows.share > 0)
        return Judged(excess.clamp_min(0), (pulls.sub_(pushes).mul_(active),), active.long())

    return Rule(judge, of_distances=True, counts=1)


def ranked_lists(
    alpha: float, margin: float, balance: float, temperatures: tuple[float, float], detach_weights: bool
) -> Rule:
    """Weighted means of an anchor's hinges, with counts of both kinds; the sum of all hinges is reported."""

    def side(hinges: Tensor, mask: Tensor, temperature: float, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        active = above(hinges, 0).mul_(mask)
        count = active.sum(1, keepdim=True)
        weights, _ = masked_softmax(hinges * temperature, active)
        hinges.mul_(active)
        mean = torch.linalg.vecdot(weights, hinges).unsqueeze(1)
        losses = torch.cat([share * mean, hinges.sum(1, keepdim=True)], 1)
        if not detach_weights:
            weights.mul_(hinges.sub_(mean).mul_(temperature).add_(1))
        return losses, weights.mul_((count > 0).to(weights.dtype) * share), count.long()

    def judge(rows: Rows) -> Judged:
        d, share = rows.values, rows.share
        pulled, by_pull, pulls = side(d - (alpha - margin), rows.positive, temperatures[0], (1 - balance) * share)
        pushed, by_push, pushes = side(alpha - d, rows.negative, temperatures[1], balance * share)
        counts = torch.cat([pulls, pushes], 1) * (share > 0)
        return Judged(pulled + pushed, (by_pull.sub_(by_push),), counts)

    return Rule(judge, of_distances=True, reported=1, counts=2)
