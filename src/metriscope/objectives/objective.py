"""The objective of a run: distance, miner and loss over one comparison of anchors with references."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from metriscope.objectives.distances import Distance
from metriscope.objectives.losses.base import Loss, LossOutput
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.selection import Comparison


class Step(NamedTuple):
    """One evaluated batch: what the loss said, and the comparison that it judged."""

    output: LossOutput
    comparison: Comparison


class Objective(nn.Module):
    """Compares a batch with its references, lets the miner select and the loss judge.

    Args:
        distance, miner, loss: the parts; whether they fit is the business of :mod:`metriscope.checks`.
    """

    def __init__(self, distance: Distance, miner: Miner, loss: Loss) -> None:
        super().__init__()
        self.distance = distance
        self.miner = miner
        self.loss = loss

    def compare(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Comparison:
        """(B, D) embeddings and (B,) labels -> the comparison of the batch with itself."""
        same = labels.unsqueeze(1) == labels
        itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
        return Comparison(
            embeddings=embeddings,
            labels=labels,
            references=embeddings,
            reference_labels=labels,
            distances=self.distance(embeddings, embeddings),
            positive=same & ~itself,
            negative=~same,
            distance=self.distance,
            generator=generator,
        )

    def forward(self, embeddings: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> Step:
        """(B, D) embeddings and (B,) labels -> :class:`Step`."""
        comparison = self.compare(embeddings, labels, generator)
        output: LossOutput = self.loss(comparison, self.miner(comparison))
        return Step(output, comparison)
