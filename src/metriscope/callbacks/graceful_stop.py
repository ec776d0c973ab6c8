"""The callback that saves the state and stops the run on a signal."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from metriscope.signals import Stop

# How long an evaluation may continue after a notice: SLURM sends one about half a minute before it ends the job.
_EVALUATION_SECONDS = 15


class GracefulStop(pl.Callback):
    """On Ctrl-C, SIGTERM or a notice of the scheduler, finishes the step, saves ``last.ckpt`` and stops.

    Processes that train together all stop after the same step.

    Args:
        stop: what signals have asked of the run.
        checkpoint: where the state is saved.
        every_n_steps: how often several processes check whether any of them received a signal.
    """

    def __init__(self, stop: Stop, checkpoint: Path, every_n_steps: int) -> None:
        self.stop = stop
        self.checkpoint = checkpoint
        self.every_n_steps = every_n_steps

    def _told(self, trainer: pl.Trainer) -> bool:
        """Whether this process, or another process of the same training, received a signal."""
        if trainer.world_size > 1:
            number = torch.tensor(self.stop.received or 0, device=trainer.strategy.root_device)
            self.stop.received = int(trainer.strategy.reduce(number, reduce_op="max")) or None
        return self.stop.received is not None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # By now Lightning has replaced this handler by its own for SIGTERM, which broadcasts at any point of a step.
        self.stop.listen_again()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stop.listen_again()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The validation and the regular checkpoint follow the last batch of an epoch. Checkpoints do not hold gradients
        # that are still being accumulated.
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not whole or trainer.is_last_batch:
            return
        if trainer.world_size > 1 and trainer.global_step % self.every_n_steps != 0:
            return
        if self._told(trainer):
            trainer.save_checkpoint(self.checkpoint)
            self.stop.check()

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        # Repeating an epoch is better than losing the place in the queue.
        noticed = self.stop.noticed
        if noticed is not None and time.monotonic() > noticed + _EVALUATION_SECONDS:
            self.stop.check()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._told(trainer):
            self.stop.check()

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        self.stop.check()
