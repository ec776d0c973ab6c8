"""A value whose gradients are known in advance, and the sums that they are made of."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metriscope.objectives.block import Block
from metriscope.objectives.distances.base import Distance


class KnownGradients(torch.autograd.Function):
    """A value with its derivatives by several tensors, all known in advance; see :func:`attach`."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *pairs: Tensor) -> Tensor:
        ctx.save_for_backward(*pairs[1::2])
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        gradients = ctx.saved_tensors
        # The incoming gradient is usually exactly 1; on a CPU, checking that avoids a copy of each gradient.
        if grad.device.type == "cpu" and not torch.compiler.is_compiling() and grad == 1:
            scaled = list(gradients)
        else:
            scaled = [grad.to(gradient.dtype) * gradient for gradient in gradients]
        return None, *(part for gradient in scaled for part in (gradient, None))


def attach(value: Tensor, known: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """A scalar attached to the graph, in the dtype of the first tensor.

    Args:
        value: scalar.
        known: tensors, each with the derivative of the value by it, of the same shape.
    """
    flat = [one for tensor, gradient in known for one in (tensor, gradient.to(tensor.dtype))]
    attached: Tensor = KnownGradients.apply(value.detach().to(known[0][0].dtype), *flat)
    return attached


class Gradients:
    """Derivatives of one sum by prepared anchors, prepared references and further tensors."""

    def __init__(self, anchors: Tensor, references: Tensor, others: Sequence[Tensor]) -> None:
        same = references is anchors
        self.targets = [anchors, *([] if same else [references]), *others]
        self.same = same
        self.found = [torch.zeros_like(target) for target in self.targets]
        self.anchors, self.others = self.found[0], self.found[len(self.found) - len(others) :]
        self.references = self.found[0 if same else 1]
        # Sums of the products' slopes, by which lengths count.
        self.by_lengths = [rows.new_zeros(len(rows), 1) for rows in self.targets[: 1 if same else 2]]

    def multiply(self, block: Block, products: Tensor, distance: Distance) -> None:
        """Adds what follows from slopes (r, R) of dot products; changes them."""
        rows, differences = block.rows, distance.differences
        if differences and block.known is not None:
            for pairs, by in distance.pull_close(block.anchors, block.references, block.known, products):
                self.anchors[rows].index_add_(0, pairs.anchors, by)
                self.references.index_add_(0, pairs.references, by, alpha=-1)
        if self.same and len(products) == len(self.anchors):
            # Each pair is met from both of its ends, so one matrix product does for both.
            both = products + products.T
            self.anchors.addmm_(both, block.references)
            if differences:
                self.by_lengths[0].sub_(both.sum(1, keepdim=True))
            return
        self.anchors[rows].addmm_(products, block.references)
        self.references.addmm_(products.T, block.anchors)
        if differences:
            self.by_lengths[0][rows].sub_(products.sum(1, keepdim=True))
            self.by_lengths[-1].sub_(products.sum(0).unsqueeze(1))

    def known(self, differences: bool) -> list[tuple[Tensor, Tensor]]:
        if differences:
            for found, target, factor in zip(self.found, self.targets, self.by_lengths, strict=False):
                found.addcmul_(target.detach(), factor)
        return list(zip(self.targets, self.found, strict=True))
