"""Gathering of all processes' embeddings into one batch: a loss has the same value on one device and on many.

Every process has the loss of the whole batch, with its gradients, and sends them into its own embeddings only. They are
multiplied by the number of processes, because DistributedDataParallel then averages over processes. Loss value and
parameter gradients equal those of one process on the whole batch, for every loss, even with unequal shares.

The row engine judges only a share of the anchors on each process (:class:`Ranks`) and adds up what all of them have
found, so its arithmetic falls with their number. Whatever else compares samples is computed by every process for the
whole batch.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from metriscope.objectives.samples import Spaces


def is_distributed() -> bool:
    """Whether embeddings have to be gathered."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class Ranks(NamedTuple):
    """The processes that judge one gathered batch together.

    Attributes:
        rank: of this process, from 0.
        world: how many there are.
        reduce: adds up a contiguous tensor over all of them, in place.
    """

    rank: int
    world: int
    reduce: Callable[[Tensor], object]

    def share(self, anchors: int) -> slice | None:
        """Those of so many anchors that this process judges; None for all, where there are too few to share out."""
        if anchors < self.world:
            return None
        return slice(anchors * self.rank // self.world, anchors * (self.rank + 1) // self.world)

    def add(self, tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
        """The sums of small tensors over all processes, which are sent as one in this dtype."""
        flat = torch.cat([one.flatten().to(dtype) for one in tensors])
        self.reduce(flat)
        parts = torch.split(flat, [one.numel() for one in tensors])
        return [part.view_as(one).to(one.dtype) for part, one in zip(parts, tensors, strict=True)]

    def add_(self, tensor: Tensor) -> None:
        """Add up a tensor over all processes, in place."""
        whole = tensor.contiguous()
        self.reduce(whole)
        if whole is not tensor:
            tensor.copy_(whole)


def ranks_of(objective: nn.Module) -> Ranks | None:
    """The processes that share the anchors of a gathered batch; None for one that each of them judges as a whole.

    A compiled objective is of the latter kind: what is traced may differ between processes, so they could wait for each
    other in vain.
    """
    if objective._compiled_call_impl is not None or torch.compiler.is_compiling():
        return None
    return ranks()


def ranks() -> Ranks:
    """All processes."""
    return Ranks(dist.get_rank(), dist.get_world_size(), dist.all_reduce)


def _lengths(local: Tensor) -> list[int]:
    """The lengths of the batches of all ranks, for which the host waits."""
    sizes = [torch.zeros((), dtype=torch.int64, device=local.device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor(len(local), device=local.device))
    return [int(size) for size in sizes]


def _gather(local: Tensor, lengths: Sequence[int]) -> Tensor:
    """The tensors of all ranks in the order of ranks; first dimensions may differ."""
    whole = local.new_empty(sum(lengths), *local.shape[1:])
    shares = torch.split(whole, list(lengths))
    if len(set(lengths)) == 1 and dist.get_backend() != "gloo":
        dist.all_gather(list(shares), local.contiguous())
        return whole
    # One rank after the other, because gloo would gather into a second copy of the whole, and only equal shares.
    shares[dist.get_rank()].copy_(local)
    for rank, share in enumerate(shares):
        if len(share):
            dist.broadcast(share, rank)
    return whole


class _GatherEmbeddings(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, lengths: Sequence[int]) -> Tensor:
        ctx.start = sum(lengths[: dist.get_rank()])
        ctx.length = len(local)
        return _gather(local, lengths)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad[ctx.start : ctx.start + ctx.length] * dist.get_world_size(), None


def gather(batch: Spaces, spaces: Collection[str]) -> Spaces:
    """Some spaces of the batch of this process -> those of all processes, in the order of ranks.

    Waits once for the lengths of the batches, which may differ.
    """
    lengths = _lengths(batch.labels)
    outputs = {
        name: _GatherEmbeddings.apply(output, lengths) for name, output in batch.outputs.items() if name in spaces
    }
    side = None if batch.side is None else _gather(batch.side, lengths)
    return Spaces(outputs, _gather(batch.labels, lengths), _gather(batch.index, lengths), side)
