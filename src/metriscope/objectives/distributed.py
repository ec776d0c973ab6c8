"""Gathering of all processes' embeddings into one batch: a loss has the same value on one device and on many.

Every process computes the loss of the whole batch and sends gradients into its own embeddings only. They are multiplied
by the number of processes, because DistributedDataParallel then averages over processes. Loss value and parameter
gradients equal those of one process on the whole batch, for every loss, even with unequal shares.
"""

from collections.abc import Collection
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from metriscope.objectives.samples import Spaces


def is_distributed() -> bool:
    """Whether embeddings have to be gathered."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def _gather(local: Tensor) -> list[Tensor]:
    """The tensors of all ranks in the order of ranks; first dimensions may differ."""
    sizes = [torch.zeros((), dtype=torch.int64, device=local.device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor(len(local), device=local.device))
    lengths = [int(size) for size in sizes]
    padded = local.new_zeros(max(lengths), *local.shape[1:])
    padded[: len(local)] = local
    shares = [torch.empty_like(padded) for _ in lengths]
    dist.all_gather(shares, padded)
    return [share[:length] for share, length in zip(shares, lengths, strict=True)]


class _GatherEmbeddings(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor) -> Tensor:
        shares = _gather(local.contiguous())
        rank = dist.get_rank()
        ctx.start = sum(len(share) for share in shares[:rank])
        ctx.length = len(local)
        return torch.cat(shares)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad[ctx.start : ctx.start + ctx.length] * dist.get_world_size()


def gather(batch: Spaces, spaces: Collection[str]) -> Spaces:
    """Some spaces of the batch of this process -> those of all processes, in the order of ranks.

    Waits once for the sizes of each tensor, because batches may differ in length.
    """
    outputs = {name: _GatherEmbeddings.apply(output) for name, output in batch.outputs.items() if name in spaces}
    return Spaces(outputs, torch.cat(_gather(batch.labels)), torch.cat(_gather(batch.index)))
