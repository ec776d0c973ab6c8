"""The callback that logs variances within and between the classes of a whole validation or test set."""

from collections.abc import Sequence
from typing import Any, Literal

import pytorch_lightning as pl

from metriscope.callbacks.evaluation import of_layer, suffix_of
from metriscope.diagnostics.variance import VarianceMetrics


class VarianceMonitor(pl.Callback):
    """Logs the figures of :class:`VarianceMetrics` as ``val/<name>`` and ``test/<name>``.

    Args:
        layers: the outputs to measure, as of :class:`metriscope.callbacks.evaluation.EvaluationMonitor`.
    """

    def __init__(self, layers: Sequence[Literal["trunk", "embedding"]] = ("embedding",)) -> None:
        self.layers = tuple(layers)
        self.measured: dict[str, VarianceMetrics] = {}

    def _start(self, pl_module: pl.LightningModule, classes: int) -> None:
        self.measured = {layer: VarianceMetrics(classes).to(pl_module.device) for layer in self.layers}

    def _finish(self, pl_module: pl.LightningModule, stage: str) -> None:
        for layer, variance in self.measured.items():
            found = variance.compute()
            pl_module.log_dict({f"{stage}/{key}{suffix_of(layer)}": float(value) for key, value in found.items()})
        self.measured = {}

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(pl_module, trainer.datamodule.splits.validation.num_classes)  # type: ignore[attr-defined]

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        _, labels, _ = batch
        for layer, variance in self.measured.items():
            variance.update(*of_layer(layer, outputs), labels)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(pl_module, "val")

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(pl_module, trainer.datamodule.splits.test.num_classes)  # type: ignore[attr-defined]

    on_test_batch_end = on_validation_batch_end

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(pl_module, "test")
