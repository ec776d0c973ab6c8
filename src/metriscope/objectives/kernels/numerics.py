"""Numerically safe building blocks of losses: masks as numbers, softmax over masked entries, softplus."""

import torch
from torch import Tensor


def numbers(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 and 1 for a bool mask; by way of int8, from which the CPU converts several times as fast."""
    return mask.view(torch.int8).to(dtype)


def masked_softmax(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax over the masked entries of each row (0 elsewhere), and their log-sum-exp (r, 1).

    Rows without an entry give finite numbers without a meaning.
    """
    # Far below every logit and finite, since a row without an entry subtracts it from itself; by an addition, several
    # times as fast as filling by a mask.
    outside = (mask.view(torch.int8) - 1).to(logits.dtype)
    masked = torch.add(logits, outside, alpha=torch.finfo(logits.dtype).max / 8)
    chances = masked.softmax(1)
    # The highest entry has exp(0) for its share of the sum.
    return chances, masked.amax(1, keepdim=True) - chances.amax(1, keepdim=True).log_()


def softplus(x: Tensor) -> tuple[Tensor, Tensor]:
    """log(1 + exp(x)) to all digits and its derivative, 0 at -inf.

    Several times as fast as by a log1p, which the CPU does not vectorise.
    """
    slope = x.sigmoid()
    lesser = torch.minimum(slope, 1 - slope)
    greater = 1 - lesser
    # What the subtraction has rounded away, to first order.
    lost = (1 - greater).sub_(lesser).div_(greater)
    return x.clamp_min(0).sub_(lost).sub_(greater.log_()), slope
