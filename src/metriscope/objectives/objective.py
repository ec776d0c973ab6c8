"""The objective of a run: distance, miner and loss over one comparison of anchors with references."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metriscope.objectives.distances.base import Distance
from metriscope.objectives.distributed import gather_batch, is_distributed
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.output import LossOutput
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.objectives.selection import Comparison


class Step(NamedTuple):
    """One evaluated batch: the output of the loss, and the comparison that it is computed from."""

    output: LossOutput
    comparison: Comparison


class Objective(nn.Module):
    """Compares a batch with its references, selects terms with the miner and computes the loss.

    References are the batch itself, in training also the batches of other processes and the content of a memory.

    Args:
        distance, miner, loss: the parts; :mod:`metriscope.config.rules` checks that they fit each other.
        memory: embeddings of past batches, or None.
    """

    def __init__(self, distance: Distance, miner: Miner, loss: Loss, memory: CrossBatchMemory | None = None) -> None:
        super().__init__()
        self.distance = distance
        self.miner = miner
        self.loss = loss
        self.memory = memory

    def compare(
        self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None, epoch: int = 0
    ) -> Comparison:
        """(B, D) embeddings and (B,) labels -> their comparison with the batch and, in training, the memory."""
        references, reference_labels = embeddings, labels
        if not self.loss.pairwise:
            nothing = embeddings.new_zeros(0)
            matrices = {"distances": nothing, "positive": nothing.bool(), "negative": nothing.bool()}
        else:
            if self.memory is not None and self.training:
                past, past_labels = self.memory.recall()
                references = torch.cat([embeddings, past.to(embeddings.dtype)])
                reference_labels = torch.cat([labels, past_labels])
            part = self.loss.part(labels, reference_labels)
            matrices = self._matrices(embeddings, labels, references, reference_labels, part)
        return Comparison(
            embeddings=embeddings,
            labels=labels,
            references=references,
            reference_labels=reference_labels,
            **matrices,
            distance=self.distance,
            generator=generator,
            epoch=epoch,
        )

    def _matrices(
        self,
        embeddings: Tensor,
        labels: Tensor,
        references: Tensor,
        reference_labels: Tensor,
        part: tuple[Tensor, Tensor] | None,
    ) -> dict[str, Any]:
        rows = columns = None
        if part is not None:
            rows, columns = part
            # References begin with the batch, so one look-up serves both: half the work of two, above all in the
            # backward pass.
            chosen = references.index_select(0, torch.cat([rows, columns]))
            embeddings, references = torch.split(chosen, [len(rows), len(columns)])
            labels, reference_labels = labels[rows], reference_labels[columns]
        positive = labels.unsqueeze(1) == reference_labels
        negative = ~positive if self.memory is None else ~positive & (reference_labels >= 0)
        # No sample is compared with itself; the first references are the batch.
        if rows is None:
            positive.fill_diagonal_(False)
        else:
            positive &= rows.unsqueeze(1) != columns
        distances = self.distance(embeddings, references)
        return {"distances": distances, "positive": positive, "negative": negative, "rows": rows, "columns": columns}

    def forward(
        self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None, epoch: int = 0
    ) -> Step:
        """(B, D) embeddings and (B,) labels -> :class:`Step`; in training, over the batches of all processes."""
        if self.training and is_distributed():
            embeddings, labels = gather_batch(embeddings, labels)
        comparison = self.compare(embeddings, labels, generator, epoch)
        output: LossOutput = self.loss(comparison, self.miner(comparison))
        if self.memory is not None and self.training:
            self.memory.store(embeddings.detach(), labels)
        return Step(output, comparison)
