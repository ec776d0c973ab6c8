"""A callback that says what accumulated gradients do not do for a loss that compares samples."""

import warnings

import pytorch_lightning as pl
import torch

from metriscope.training.learner import MetricLearner


class AccumulationWarning(pl.Callback):
    """Warns once where gradients are accumulated over batches whose samples are compared with each other."""

    def __init__(self) -> None:
        self.told = False

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor) -> None:
        batches = trainer.accumulate_grad_batches
        if self.told or batches == 1:
            return
        assert isinstance(pl_module, MetricLearner)
        assert pl_module.step is not None
        if any(account.compares for account in pl_module.step.accounts):
            self.told = True
            if trainer.is_global_zero:
                warnings.warn(
                    f"trainer.accumulate_grad_batches={batches}: each batch is compared within itself, so that "
                    "samples meet no more negatives; a larger sampler.batch_size with trainer.embed_chunk does that",
                    stacklevel=2,
                )
