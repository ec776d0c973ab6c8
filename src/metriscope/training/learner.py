"""The LightningModule: it embeds a batch and computes the objective; callbacks do all monitoring."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from metriscope import seeds
from metriscope.errors import InputError
from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.models.network import Embedding, Network, of_layer
from metriscope.objectives.objective import Objective, Step
from metriscope.objectives.objectives import Objectives
from metriscope.objectives.samples import Moment, Spaces
from metriscope.training.checkpoints import mark, upgrade, was_stopped
from metriscope.training.chunks import Chunks
from metriscope.training.moving_average import MovingAverage
from metriscope.training.random_state import seed_random_state

Batch = tuple[Tensor, Tensor, Tensor]


class MetricLearner(pl.LightningModule):
    """An embedder trained by an objective.

    Args:
        embedder: inputs -> :class:`Embedding`.
        objective: a batch after the network -> :class:`Step`.
        build_optimizer: (parameter groups by name, the trunk's parameters by block) -> optimizer.
        build_scheduler: (optimizer, total steps, steps per epoch) -> Lightning scheduler dict, or None.
        seed: the run's seed.
        chunks: embeds training batches in chunks; None for one pass.
        average: follows the weights of the embedder; None for none.

    Attributes:
        step, embedding: results of the training batch in progress, for callbacks; None between batches.
        evaluated: the last evaluated set; None before the first evaluation.
        tested: the last test set by evaluated layer; empty before the first test.
        predicted: the layers that prediction gives.
    """

    def __init__(
        self,
        embedder: Network,
        objective: Objective | Objectives,
        build_optimizer: Callable[[dict[str, list[nn.Parameter]], list[list[nn.Parameter]]], torch.optim.Optimizer],
        build_scheduler: Callable[[torch.optim.Optimizer, int, int], dict[str, Any] | None],
        seed: int,
        chunks: Chunks | None = None,
        average: MovingAverage | None = None,
    ) -> None:
        super().__init__()
        self.embedder = embedder
        self.objective = objective
        self.build_optimizer = build_optimizer
        self.build_scheduler = build_scheduler
        self.seed = seed
        self.chunks = chunks
        self.average = average
        self.step: Step | None = None
        self.embedding: Embedding | None = None
        self.evaluated: EvaluatedSet | None = None
        self.tested: dict[str, EvaluatedSet] = {}
        self.predicted: Sequence[str] = ("embedding",)
        self._stopped_early = False

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trainable parameters by part: trunk, head and loss."""
        parts = {"trunk": self.embedder.trunk, "head": self.embedder.head, "loss": self.objective}
        return {name: [p for p in part.parameters() if p.requires_grad] for name, part in parts.items()}

    def forward(self, inputs: Tensor) -> Embedding:
        average = None if self.training else self.average
        network = self.embedder if average is None or not average.evaluated else average.network
        embedding: Embedding = network(inputs)
        return embedding

    def on_train_start(self) -> None:
        # Lightning forgets it: a run that stopped early, and was interrupted in its test, would train on.
        self.trainer.should_stop |= self._stopped_early

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        # Layers that draw (dropout) use the global generator: a resumed step needs it in the same state.
        seed = seeds.derive(self.seed, "layers", self.current_epoch, batch_idx, self.global_rank)
        seed_random_state(self.device, seed)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        inputs, labels, index = batch
        try:
            self.embedding = self(inputs) if self.chunks is None else self.chunks(self.embedder, inputs)
        except ValueError as error:
            if len(labels) == 1 + self.embedder.trunk.paired and "more than 1 value per channel" in str(error):
                raise InputError(
                    "a batch of one sample has no statistics for batch norm: raise sampler.batch_size, or choose a "
                    "backbone and a head without batch norm"
                ) from error
            raise
        side = self.embedder.sides(self.embedding.z)
        outputs = Spaces.of(self.embedding.z, labels, index, self.embedding.features, side)
        self.step = self.objective(outputs, self._moment(batch_idx))
        return self.step.output.value

    def _moment(self, batch_idx: int) -> Moment:
        # The seed is the same on every rank, because all ranks evaluate the same gathered batch.
        generator = seeds.generator(self.seed, "miner", self.current_epoch, batch_idx)
        step, steps = self.global_step, self.trainer.estimated_stepping_batches
        return Moment(self.current_epoch, step, min(step / steps, math.nextafter(1, 0)), generator)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        self.step = self.embedding = None

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        first = self.global_step == 0
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update(self.embedder, first=first)

    def validation_step(self, batch: Batch, batch_idx: int) -> Any:
        return self(batch[0])

    def test_step(self, batch: Batch, batch_idx: int) -> Any:
        return self(batch[0])

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[dict[str, Tensor], Tensor]:
        inputs, labels, _ = batch
        embedding = self(inputs)
        return {layer: of_layer(layer, embedding)[0] for layer in self.predicted}, labels

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        mark(checkpoint, self.trainer.should_stop)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        upgrade(checkpoint, self.state_dict())
        self._stopped_early = was_stopped(checkpoint)

    def configure_optimizers(self) -> Any:
        optimizer = self.build_optimizer(self.parameter_groups(), self.embedder.trunk.blocks())
        steps = int(self.trainer.estimated_stepping_batches)
        epochs = self.trainer.max_epochs or 1
        scheduler = self.build_scheduler(optimizer, steps, max(1, steps // epochs))
        if scheduler is not None and isinstance(scheduler["scheduler"], ReduceLROnPlateau):
            # With the interval "epoch" it goes on after the checkpoint of an epoch, and a run that resumes from this
            # checkpoint never catches up.
            scheduler |= {"interval": "step", "frequency": self.trainer.num_training_batches}
        return optimizer if scheduler is None else {"optimizer": optimizer, "lr_scheduler": scheduler}
