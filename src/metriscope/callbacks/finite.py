"""A callback that stops a run whose loss or embeddings are not finite."""

import warnings

import pytorch_lightning as pl
import torch

from metriscope.errors import RunError
from metriscope.training.learner import MetricLearner


class BatchGuard(pl.Callback):
    """Stops at the first step whose loss or embeddings are not finite; warns once about a batch without terms.

    The flags stay on the device. On a GPU they are read only every ``check_every_n_steps`` steps and before anything is
    saved at the end of an epoch; the error still names the first bad step.
    """

    def __init__(self, check_every_n_steps: int) -> None:
        self.check_every_n_steps = check_every_n_steps
        self.flags: list[tuple[int, torch.Tensor]] = []
        self.warned = False

    def on_before_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor) -> None:
        assert isinstance(pl_module, MetricLearner)
        assert pl_module.step is not None
        assert pl_module.embedding is not None
        finite = torch.isfinite(loss.detach()), torch.isfinite(pl_module.embedding.z.detach()).all()
        flags = torch.stack([*finite, pl_module.step.output.terms > 0])
        self.flags.append((trainer.global_step, flags))
        if flags.device.type == "cpu" or len(self.flags) >= self.check_every_n_steps:
            self._check(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check(trainer)

    def _check(self, trainer: pl.Trainer) -> None:
        if not self.flags:
            return
        steps, flags = zip(*self.flags, strict=True)
        self.flags = []
        for step, (loss_ok, embeddings_ok, has_terms) in zip(steps, torch.stack(flags).tolist(), strict=True):
            if not (loss_ok and embeddings_ok):
                what = "loss" if embeddings_ok else "embeddings"
                raise RunError(
                    f"{what} not finite at step {step} (epoch {trainer.current_epoch}): lower optimizer.lr, set "
                    "trainer.gradient_clip_val, or look at the data; the last good checkpoint is kept"
                )
            if not has_terms and not self.warned:
                self.warned = True
                warnings.warn(
                    f"the batch of step {step} has no valid term for the loss (one class, or no two samples "
                    "of a class): it teaches nothing; see sampler.classes_per_batch and samples_per_class",
                    stacklevel=2,
                )
