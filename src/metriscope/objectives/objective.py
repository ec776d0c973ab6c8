"""The objective of a run: distance, miner and loss over one comparison of anchors with references."""

from typing import NamedTuple

from torch import nn

from metriscope.objectives.comparison import Comparison, Segment
from metriscope.objectives.distances.base import Distance
from metriscope.objectives.distributed import gather, is_distributed
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.miners.base import Miner
from metriscope.objectives.output import LossOutput
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.objectives.samples import Moment, Samples, Spaces


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

    def compare(self, batch: Samples, moment: Moment | None = None) -> Comparison:
        """The comparison of a batch with itself and, in training, with the memory."""
        segments = [Segment(batch)]
        if self.memory is not None and self.training:
            segments.append(Segment(self.memory.recall()))
        return Comparison(batch, segments, self.distance, moment)

    def forward(self, batch: Spaces, moment: Moment | None = None) -> Step:
        """A batch -> :class:`Step`; in training, over the batches of all processes."""
        if self.training and is_distributed():
            batch = gather(batch)
        samples = batch.samples("embedding")
        comparison = self.compare(samples, moment)
        output: LossOutput = self.loss(comparison, self.miner(comparison))
        if self.memory is not None and self.training:
            self.memory.store(samples)
        return Step(output, comparison)
