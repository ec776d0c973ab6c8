"""The callback that evaluates embeddings: retrieval and variance over the whole validation or test set."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from metriscope.diagnostics.variance import VarianceMetrics
from metriscope.errors import RunError
from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.evaluation.retrieval import RetrievalMetrics
from metriscope.evaluation.set_metric import SetMetric
from metriscope.models.embedder import Embedding
from metriscope.training.learner import MetricLearner
from metriscope.unit import unit_rows


class EvaluationMonitor(pl.Callback):
    """Logs ``val/`` and ``test/`` retrieval metrics and variances, and stores the embeddings in the module.

    Args:
        build_retrieval: makes the retrieval metric; takes ``queries``.
        build_variance: number of classes -> variance metric; None to leave variances out.
        layers: the outputs to evaluate. ``embedding`` is the input of the loss; ``trunk`` are the features before the
            head, scaled to unit length and logged with keys that end in ``_trunk``.
        own: metrics of one's own by key, computed of every layer.
    """

    def __init__(
        self,
        build_retrieval: Callable[..., RetrievalMetrics],
        build_variance: Callable[[int], VarianceMetrics] | None,
        layers: Sequence[str] = ("embedding",),
        own: Mapping[str, SetMetric] | None = None,
    ) -> None:
        self.build_retrieval = build_retrieval
        self.build_variance = build_variance
        self.layers = tuple(layers)
        self.own = dict(own or {})
        self.measured: dict[str, tuple[RetrievalMetrics, VarianceMetrics | None]] = {}

    def _start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        splits = trainer.datamodule.splits  # type: ignore[attr-defined]
        queries = splits.queries if stage == "test" else None
        classes = getattr(splits, stage).num_classes
        for layer in self.layers:
            variance = self.build_variance(classes).to(pl_module.device) if self.build_variance else None
            self.measured[layer] = self.build_retrieval(queries=queries).to(pl_module.device), variance

    def _update(self, embedding: Any, batch: Any) -> None:
        _, labels, index = batch
        for layer, (retrieval, variance) in self.measured.items():
            z, raw = _of_layer(layer, embedding)
            retrieval.update(z, labels, index)
            if variance is not None:
                variance.update(z, raw, labels)

    def _finish(self, pl_module: pl.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, MetricLearner)
        for layer, (retrieval, variance) in self.measured.items():
            values: dict[str, Any] = dict(retrieval.compute())
            if variance is not None:
                values.update(variance.compute())
            embeddings, labels, _ = retrieval.embeddings()
            evaluated = EvaluatedSet(embeddings, labels, retrieval.scores)
            if layer == "embedding":
                pl_module.evaluated = evaluated
            values.update({key: _figure(key, metric, evaluated) for key, metric in self.own.items()})
            suffix = "" if layer == "embedding" else f"_{layer}"
            pl_module.log_dict({f"{stage}/{name}{suffix}": float(value) for name, value in values.items()})
        self.measured = {}

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


def _figure(key: str, metric: SetMetric, evaluated: EvaluatedSet) -> float:
    """The value of a metric of one's own.

    Raises:
        RunError: the metric fails, or returns no number.
    """
    try:
        return float(metric(evaluated))
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise RunError(f"evaluation.metrics.{key} of {len(evaluated.labels)} embeddings failed: {line}") from error


def _of_layer(layer: str, embedding: Embedding) -> tuple[Tensor, Tensor]:
    """The vectors to rank, and the same vectors before scaling: (B, D) each."""
    if layer == "embedding":
        return embedding.z, embedding.raw
    features = embedding.features.to(embedding.z.dtype)
    return unit_rows(features), features
