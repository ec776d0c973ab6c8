"""The callback that logs variances within and between the classes of a whole validation or test set."""

from collections.abc import Sequence
from typing import Any, Literal

import pytorch_lightning as pl

from metriscope.callbacks.evaluation import suffix_of
from metriscope.callbacks.whole_set import WholeSet
from metriscope.data.splits import Splits
from metriscope.diagnostics.variance import VarianceMetrics
from metriscope.models.network import of_layer


class VarianceMonitor(WholeSet):
    """Logs the figures of :class:`VarianceMetrics` as ``val/<name>`` and ``test/<name>``.

    Args:
        layers: the outputs to measure, as of :class:`metriscope.callbacks.evaluation.EvaluationMonitor`.
    """

    def __init__(self, layers: Sequence[Literal["trunk", "embedding"]] = ("embedding",)) -> None:
        self.layers = tuple(layers)
        self.measured: dict[str, VarianceMetrics] = {}

    def begin(self, pl_module: pl.LightningModule, splits: Splits, stage: str) -> None:
        part = splits.test if stage == "test" else splits.validation
        assert part is not None
        self.measured = {layer: VarianceMetrics(part.num_classes).to(pl_module.device) for layer in self.layers}

    def follow(self, outputs: Any, batch: Any) -> None:
        _, labels, _ = batch
        for layer, variance in self.measured.items():
            variance.update(*of_layer(layer, outputs), labels)

    def finish(self, pl_module: pl.LightningModule, stage: str) -> None:
        for layer, variance in self.measured.items():
            found = variance.compute()
            pl_module.log_dict({f"{stage}/{key}{suffix_of(layer)}": float(value) for key, value in found.items()})
        self.measured = {}
