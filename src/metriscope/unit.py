"""Normalisation of rows to unit length."""

import math
from typing import Any

import torch
from torch import Tensor

SMALLEST_NORM = 1e-8


class _UnitRows(torch.autograd.Function):
    """Row normalisation with a custom backward that makes half as many passes over memory as autograd."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        inverse = norms.reciprocal().masked_fill_(norms <= SMALLEST_NORM, 0)
        unit: Tensor = rows * inverse
        ctx.save_for_backward(unit, inverse)
        return unit

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        unit, inverse = ctx.saved_tensors
        along = (grad * unit).sum(1, keepdim=True)
        return torch.addcmul(grad, unit, along, value=-1).mul_(inverse)


def unit_rows(rows: Tensor) -> Tensor:
    """(N, D) -> (N, D), each row divided by its length.

    A row shorter than 1e-8 has no direction: it becomes zero and gets a zero gradient. Dividing by a clamped norm
    instead would multiply the gradient by the inverse of the clamp.
    """
    result: Tensor = _UnitRows.apply(rows)
    return result


def unit_parts(rows: Tensor, parts: int) -> Tensor:
    """(N, H D') -> (N, H D'), each of the H = ``parts`` blocks of a row divided by sqrt(H) times its length.

    The whole row has unit length, and the inner product of two rows is the mean of the cosines of their H blocks. A
    block without direction becomes zero, as in :func:`unit_rows`; its row is then shorter. O(N H D') time.

    >>> unit_parts(torch.tensor([[3.0, 4.0, 0.0, 2.0]]), 2) * 2**0.5
    tensor([[0.6000, 0.8000, 0.0000, 1.0000]])
    """
    if parts == 1:
        return unit_rows(rows)
    size = rows.shape[1]
    return unit_rows(rows.reshape(-1, size // parts)).reshape(-1, size) * (1 / math.sqrt(parts))
