"""The rule of losses that raise the likelihood of an anchor's positives among all its pairs."""

import torch
from torch import Tensor

from metriscope.objectives.kernels.numerics import either, masked_softmax, numbers, present
from metriscope.objectives.kernels.rows import Rule


def mean_log_likelihood(temperature: float) -> Rule:
    """-mean_p log softmax(s / t)_p of each row, p its positives, the softmax over positives and negatives."""

    def rule(rows: Tensor, positive: Tensor, negative: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        logits = rows / temperature
        chances, log_total = masked_softmax(logits, either(present(positive), negative))
        pulled = numbers(positive, rows.dtype)
        count = pulled.sum(1, keepdim=True)
        count = torch.where(count > 0, count, 1)
        losses = log_total - (logits * pulled).sum(1, keepdim=True) / count
        scale = share / temperature
        return losses, chances.mul_(scale).sub_(pulled.mul_(scale / count))

    return rule
