"""Cross-batch memory: embeddings of past batches as additional references."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from metriscope.objectives.arguments import Count
from metriscope.objectives.comparison import Segment
from metriscope.objectives.output import Account
from metriscope.objectives.references.base import References
from metriscope.objectives.samples import Moment, Samples


class CrossBatchMemory(References):
    """A ring buffer of the last ``size`` samples (XBM: Wang et al., arXiv:1912.06798).

    Content, position and age are buffers, so they are in the checkpoint and a resumed run continues exactly. Under data
    parallelism the gathered batch is stored, so that all processes hold the same memory.

    Args:
        size: M, how many embeddings are kept, at least 1.
        embedding_size: D, at least 1.
        warmup_steps: training steps during which the memory is filled but not used, at least 0.
        affinity_size: F, of the space that the affinity of pairs comes from; 0 without one.
        sides: whether the modality of each sample is kept, for ``pairs_across``.
    """

    paper = "arXiv:1912.06798"
    embeddings: Tensor
    labels: Tensor
    index: Tensor
    affine: Tensor | None
    side: Tensor | None
    position: Tensor
    steps: Tensor

    def __init__(
        self,
        size: Count,
        embedding_size: Count,
        warmup_steps: Annotated[int, Field(ge=0)] = 0,
        affinity_size: Annotated[int, Field(ge=0)] = 0,
        sides: bool = False,
    ) -> None:
        super().__init__()
        self.warmup_steps = warmup_steps
        self.register_buffer("embeddings", torch.zeros(size, embedding_size))
        # No class has a negative id: an empty place is neither a positive nor a negative of any anchor.
        self.register_buffer("labels", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("index", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("affine", torch.zeros(size, affinity_size) if affinity_size else None)
        self.register_buffer("side", torch.full((size,), -1, dtype=torch.int64) if sides else None)
        self.register_buffer("position", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def recall(self, batch: Samples, moment: Moment) -> Segment:
        """M samples; label -1 for empty places and, during warm-up, for all places."""
        labels = self.labels.masked_fill(self.steps < self.warmup_steps, -1)
        affine = None if self.affine is None else self.affine.clone()
        side = None if self.side is None else self.side.clone()
        return Segment(Samples(self.embeddings.clone(), labels, self.index.clone(), side=side, affine=affine))

    @torch.no_grad()
    def observe(self, account: Account, moment: Moment) -> None:
        self.store(account.comparison.anchors)

    @torch.no_grad()
    def store(self, batch: Samples) -> None:
        """Replace the oldest entries by a batch of any length; of a batch longer than the memory, the end is kept."""
        size = len(self.labels)
        last = batch.at(slice(-size, None))
        places = (self.position + torch.arange(len(last.labels), device=last.labels.device)) % size
        self.embeddings[places] = last.embeddings.detach().to(self.embeddings.dtype)
        self.labels[places] = last.labels
        self.index[places] = last.index
        if self.side is not None:
            self.side[places] = -1 if last.side is None else last.side
        if self.affine is not None and last.affine is not None:
            self.affine[places] = last.affine.to(self.affine.dtype)
        self.position.copy_((self.position + len(last.labels)) % size)
        self.steps += 1
