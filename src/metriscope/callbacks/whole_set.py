"""The base class of callbacks that follow a whole validation or test set."""

from typing import Any

import pytorch_lightning as pl

from metriscope.data.splits import Splits


class WholeSet(pl.Callback):
    """Calls :meth:`begin` before a validation or test set, :meth:`follow` with every batch, :meth:`finish` after it."""

    def begin(self, pl_module: pl.LightningModule, splits: Splits, stage: str) -> None:
        """A set begins; ``stage`` is ``val`` or ``test``."""
        raise NotImplementedError

    def follow(self, outputs: Any, batch: Any) -> None:
        """A batch was embedded; ``outputs`` is its :class:`metriscope.models.network.Embedding`."""
        raise NotImplementedError

    def finish(self, pl_module: pl.LightningModule, stage: str) -> None:
        """All batches were followed."""
        raise NotImplementedError

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.begin(pl_module, _splits(trainer), "val")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self.follow(outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.finish(pl_module, "val")

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.begin(pl_module, _splits(trainer), "test")

    on_test_batch_end = on_validation_batch_end

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.finish(pl_module, "test")


def _splits(trainer: pl.Trainer) -> Splits:
    # Lightning sets the attribute when a run begins.
    splits: Splits = trainer.datamodule.splits  # type: ignore[attr-defined]
    return splits
