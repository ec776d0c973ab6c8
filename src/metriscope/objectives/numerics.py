"""Numerically safe building blocks of losses: masks as numbers, softmax over masked entries, softplus."""

import torch
import torch.nn.functional as F
from torch import Tensor


def numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """A bool mask as numbers 0 and 1, converted through int8, which is several times as fast on a CPU."""
    return mask.view(torch.int8).to(dtype)


def equal(one: Tensor, other: Tensor | float) -> Tensor:
    """Where a tensor equals a number or another of its dtype, as numbers 0 and 1 of it.

    On a CPU this is many times as fast as a mask.
    """
    if one.device.type != "cpu" or torch.compiler.is_compiling():
        return (one == other).to(one.dtype)
    return torch.eq(one, other, out=one.new_empty(0))


def above(x: Tensor, threshold: float | Tensor) -> Tensor:
    """Where x exceeds the threshold, as numbers 0 and 1; see :func:`equal`."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return (x > threshold).to(x.dtype)
    return torch.gt(x, threshold, out=x.new_empty(0))


def squares(rows: Tensor) -> Tensor:
    """(n, D) -> (n,), the sum of the squares of each row, without a matrix of squares."""
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths.square()


def masked_softmax(logits: Tensor, mask: Tensor, weighed: bool = False) -> tuple[Tensor, Tensor]:
    """The softmax over the masked entries of each row (0 elsewhere), and their log-sum-exp (r, 1).

    Rows without an entry give arbitrary finite numbers.

    Args:
        logits: (r, R).
        mask: (r, R), 1 and 0.
        weighed: whether the mask is one of weights of at least 0 that multiply the exponentials.
    """
    masked = _masked(logits, mask, weighed)
    chances = masked.softmax(1)
    # The highest entry contributes exp(0) to the sum.
    return chances, masked.amax(1, keepdim=True) - chances.amax(1, keepdim=True).log_()


def log_sum_exp(logits: Tensor, mask: Tensor, weighed: bool = False) -> Tensor:
    """log(sum e^logits) over the masked entries of each row, (r, 1), differentiable; finite where there are none.

    Args:
        logits, mask, weighed: as of :func:`masked_softmax`.
    """
    return _masked(logits, mask, weighed).logsumexp(1, keepdim=True)


def _masked(logits: Tensor, mask: Tensor, weighed: bool) -> Tensor:
    # The offset is far below every logit, and finite because a row without an entry subtracts it from itself.
    lowest = torch.finfo(logits.dtype).max / 8
    if weighed:
        return logits + mask.log().clamp_min(-lowest)
    return torch.add(logits, mask - 1, alpha=lowest)


def mean_of(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean over each row, (r, 1); 0 where no entry has a weight."""
    count = weights.sum(1, keepdim=True)
    return (values * weights).sum(1, keepdim=True) / torch.where(count > 0, count, 1)


def soft_hinge(x: Tensor) -> Tensor:
    """log(1 + e^x) to full precision, differentiable; :func:`softplus` has its slope by hand."""
    # Above this it equals x; below it, e^x fits into float32.
    return F.softplus(x, threshold=80)


def softplus(x: Tensor) -> tuple[Tensor, Tensor]:
    """log(1 + exp(x)) to full precision, and its derivative; both are 0 at -inf.

    Several times as fast as log1p, which is not vectorised on a CPU.
    """
    slope = x.sigmoid()
    lesser = torch.minimum(slope, 1 - slope)
    greater = 1 - lesser
    # The rounding error of the subtraction, to first order.
    lost = (1 - greater).sub_(lesser).div_(greater)
    return x.clamp_min(0).sub_(lost).sub_(greater.log_()), slope
