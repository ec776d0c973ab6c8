"""The autograd function of a value whose gradient is known in advance."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class KnownGradient(torch.autograd.Function):
    """A value with its derivative by ``matrix``, both known in advance; backward returns that derivative."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, weights: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(weights)
        return value.to(matrix.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        (weights,) = ctx.saved_tensors
        # The incoming gradient is usually exactly 1; on a CPU, checking that avoids a copy of the matrix.
        looks = weights.device.type == "cpu" and not torch.compiler.is_compiling()
        return weights if looks and grad == 1 else grad * weights, None, None
