"""The callback that evaluates embeddings: retrieval and variance over the whole validation or test set."""

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl

from metriscope.diagnostics.variance import VarianceMetrics
from metriscope.evaluation.retrieval import RetrievalMetrics
from metriscope.module import EvaluatedSet, MetricLearner


class EvaluationMonitor(pl.Callback):
    """Logs ``val/`` and ``test/`` retrieval metrics and variances, and leaves the embeddings in the module.

    Args:
        build_retrieval: makes the retrieval metric.
        build_variance: number of classes -> variance metric; None to leave variances out.
    """

    def __init__(
        self,
        build_retrieval: Callable[[], RetrievalMetrics],
        build_variance: Callable[[int], VarianceMetrics] | None,
    ) -> None:
        self.build_retrieval = build_retrieval
        self.build_variance = build_variance
        self.retrieval: RetrievalMetrics | None = None
        self.variance: VarianceMetrics | None = None

    def _start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        examples = getattr(trainer.datamodule.splits, stage)  # type: ignore[attr-defined]
        self.retrieval = self.build_retrieval().to(pl_module.device)
        if self.build_variance is not None:
            self.variance = self.build_variance(examples.num_classes).to(pl_module.device)

    def _update(self, embedding: Any, batch: Any) -> None:
        assert self.retrieval is not None
        _, labels, index = batch
        self.retrieval.update(embedding.z, labels, index)
        if self.variance is not None:
            self.variance.update(embedding.z, embedding.raw, labels)

    def _finish(self, pl_module: pl.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, MetricLearner)
        assert self.retrieval is not None
        values: dict[str, Any] = dict(self.retrieval.compute())
        if self.variance is not None:
            values.update(self.variance.compute())
        embeddings, labels, _ = self.retrieval.embeddings()
        pl_module.evaluated = EvaluatedSet(embeddings, labels)
        pl_module.log_dict({f"{stage}/{name}": float(value) for name, value in values.items()})
        self.retrieval = self.variance = None

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer, pl_module, "validation")

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._update(outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(pl_module, "val")

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start(trainer, pl_module, "test")

    on_test_batch_end = on_validation_batch_end

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._finish(pl_module, "test")
