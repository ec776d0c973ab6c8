"""Cross-batch memory: embeddings of past batches as additional references."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from metriscope.objectives.arguments import Count
from metriscope.parts import PartType


class CrossBatchMemory(nn.Module, metaclass=PartType):
    """A ring buffer of the last ``size`` embeddings and labels (XBM: Wang et al., arXiv:1912.06798).

    Content, position and age are buffers, so they are in the checkpoint and a resumed run continues exactly. Under data
    parallelism the gathered batch is stored, so that all processes hold the same memory.

    Args:
        size: M, how many embeddings are kept, at least 1.
        embedding_size: D, at least 1.
        warmup_steps: training steps during which the memory is filled but not used, at least 0.
    """

    embeddings: Tensor
    labels: Tensor
    position: Tensor
    steps: Tensor

    def __init__(self, size: Count, embedding_size: Count, warmup_steps: Annotated[int, Field(ge=0)] = 0) -> None:
        super().__init__()
        self.warmup_steps = warmup_steps
        self.register_buffer("embeddings", torch.zeros(size, embedding_size))
        # No class has a negative id: an empty place is neither a positive nor a negative of any anchor.
        self.register_buffer("labels", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def recall(self) -> tuple[Tensor, Tensor]:
        """(M, D) embeddings and (M,) labels; label -1 for empty places and, during warm-up, for all places."""
        return self.embeddings.clone(), self.labels.masked_fill(self.steps < self.warmup_steps, -1)

    @torch.no_grad()
    def store(self, embeddings: Tensor, labels: Tensor) -> None:
        """Replace the oldest entries by a batch of any length; of a batch longer than the memory, the end is kept."""
        size = len(self.labels)
        embeddings, labels = embeddings[-size:], labels[-size:]
        places = (self.position + torch.arange(len(labels), device=labels.device)) % size
        self.embeddings[places] = embeddings.to(self.embeddings.dtype)
        self.labels[places] = labels
        self.position.copy_((self.position + len(labels)) % size)
        self.steps += 1
