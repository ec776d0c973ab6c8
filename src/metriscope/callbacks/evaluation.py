"""The callback that embeds a whole validation or test set, and computes the metrics of it that a config asks for."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.apply_func import move_data_to_device
from torch import Tensor

from metriscope.callbacks.whole_set import WholeSet
from metriscope.data.examples import Examples
from metriscope.data.splits import Splits
from metriscope.errors import InputError
from metriscope.evaluation.collector import SetCollector
from metriscope.evaluation.embedded import EvaluatedSet
from metriscope.evaluation.measures import Measures, together
from metriscope.evaluation.retrieval import check_finite, checked_scores
from metriscope.evaluation.search.curved import Curved
from metriscope.evaluation.set_metric import Built
from metriscope.evaluation.verification.listed import PairList, read_pairs
from metriscope.evaluation.verification.of_set import Verification
from metriscope.models.network import of_layer
from metriscope.models.shapes import of_pairs
from metriscope.objectives.distributed import is_distributed, ranks
from metriscope.objectives.objective import Objective
from metriscope.objectives.objectives import Objectives
from metriscope.training.learner import MetricLearner


class EvaluationMonitor(WholeSet):
    """Logs metrics of the ``val/`` and ``test/`` sets, and stores the embeddings in the module.

    Neighbours are searched once for all metrics of a set, and not at all where no metric asks for them. Distractors are
    embedded after the test set, once, and lie in the gallery of each of its queries. Pairs of two modalities are ranked
    and verified across them: each sample is a query among all samples of the other side.

    Args:
        metrics: those to compute during the run; others, which come at its end, are passed over.
        layers: the outputs to evaluate. ``embedding`` is the input of the loss; ``trunk`` are the features before the
            head, scaled to unit length and logged with keys that end in ``_trunk``.
        memory_mb: working memory of the search in MiB.
        further: what others want of the search.
        pairs: a file of pairs of the test set to verify, see :func:`read_pairs`; None for all pairs.
    """

    def __init__(
        self,
        metrics: Sequence[Built],
        layers: Sequence[str] = ("embedding",),
        memory_mb: float = 256,
        further: Measures | None = None,
        pairs: Path | None = None,
    ) -> None:
        self.metrics = [one for one in metrics if not one.asked.at_end]
        asked = [further, *(one.metric.measures() for one in metrics)]
        self.measures = together(one for one in asked if one is not None)
        self.memory_mb = memory_mb
        self.layers = tuple(layers)
        self.file = pairs
        self.pairs: PairList | None = None
        self.queries: Tensor | None = None
        self.count: int | None = None
        self.samples: dict[str, SetCollector] = {}
        self.told = False

    def begin(self, pl_module: pl.LightningModule, splits: Splits, stage: str) -> None:
        self.queries = splits.queries if stage == "test" else None
        self.count = pairs_in(splits.test if stage == "test" else splits.validation)
        self.pairs = pairs_of(splits, self.file) if stage == "test" else None
        self.samples = {layer: SetCollector().to(pl_module.device) for layer in self.layers}
        self.told = False if stage == "test" else self.told

    def follow(self, outputs: Any, batch: Any) -> None:
        _, labels, index = batch
        for layer, samples in self.samples.items():
            samples.update(of_layer(layer, outputs)[0], labels, index)

    def finish(self, pl_module: pl.LightningModule, stage: str) -> None:
        assert isinstance(pl_module, MetricLearner)
        distractors = self._distractors(pl_module) if stage == "test" else {}
        for layer, samples in self.samples.items():
            embeddings, labels, index = samples.compute()
            evaluated = self._evaluated(
                embeddings, labels, index, distractors.get(layer), space_of(pl_module) if layer == "embedding" else None
            )
            if layer == "embedding":
                pl_module.evaluated = evaluated
            if stage == "test":
                pl_module.tested[layer] = evaluated
            with evaluated.verified().shared(ranks() if is_distributed() else None):
                for one in self.metrics:
                    found = one.of(evaluated) if any(stage in figure.splits for figure in one.asked.figures) else {}
                    pl_module.log_dict({f"{stage}/{name}{suffix_of(layer)}": value for name, value in found.items()})
        self.samples = {}

    def judge(self, splits: Splits, embeddings: Tensor, labels: Tensor) -> EvaluatedSet:
        """The test set with embeddings (N, D) and labels (N,) that are at hand, in the order of the split."""
        self.queries, self.pairs = splits.queries, pairs_of(splits, self.file)
        self.count = pairs_in(splits.test)
        return self._evaluated(embeddings, labels, torch.arange(len(labels), device=labels.device))

    def _distractors(self, pl_module: MetricLearner) -> dict[str, Tensor]:
        """Embeddings (M, D) of the distractors by layer, of all processes; nothing where there are none."""
        trainer: Any = pl_module.trainer
        loader = trainer.datamodule.distractor_dataloader()
        if loader is None:
            return {}
        found = {layer: SetCollector().to(pl_module.device) for layer in self.layers}
        for batch in loader:
            on_device = move_data_to_device(batch, pl_module.device)
            inputs, labels, index = trainer.datamodule.on_after_batch_transfer(on_device, 0)
            with trainer.precision_plugin.forward_context():
                outputs = pl_module(inputs)
            for layer, samples in found.items():
                samples.update(of_layer(layer, outputs)[0], labels, index)
        return {layer: samples.compute()[0] for layer, samples in found.items()}

    def _evaluated(
        self,
        embeddings: Tensor,
        labels: Tensor,
        index: Tensor,
        distractors: Tensor | None = None,
        space: Curved | None = None,
    ) -> EvaluatedSet:
        queries = None if self.queries is None else self.queries.to(index.device)[index]
        side = None if self.count is None else (index >= self.count).long()
        listed = None if self.pairs is None else self.pairs.among(index.cpu())
        pairs = Verification(embeddings, labels, queries if side is None else side == 0, listed)
        evaluated = EvaluatedSet(
            embeddings,
            labels,
            positions=index,
            queries=queries,
            distractors=distractors,
            pairs=pairs,
            side=side,
            space=space,
        )
        if self.measures is None:
            check_finite(embeddings)
            return evaluated
        scores = checked_scores(
            embeddings, labels, self.measures, queries, self.memory_mb, distractors, side=side, space=space
        )
        if not self.told and not (scores.relevant > 0).any():
            self.told = True
            warnings.warn(
                f"none of {len(scores.relevant)} queries has an image of its class to find: retrieval metrics are "
                "left out", stacklevel=2,
            )  # fmt: skip
        return evaluated._replace(scores=scores)


def pairs_in(part: Examples | None) -> int | None:
    """How many pairs of two modalities a part has; None where its examples are no pairs.

    An evaluated set has two samples for each, of which the second of pair p of N stands at N + p.
    """
    return None if part is None or not of_pairs(part.shape) else len(part)


def tested_labels(splits: Splits) -> Tensor:
    """The labels (N,) of the whole test set, as it is evaluated: those of pairs for each side."""
    labels = splits.test.labels
    return labels if pairs_in(splits.test) is None else labels.repeat(2)


def space_of(module: MetricLearner) -> Curved | None:
    """The space of the embeddings, as the first objective that compares them has it; None for a Euclidean one."""
    objective: Any = module.objective
    if not isinstance(objective, Objective | Objectives):
        space: Curved | None = objective.space
        return space
    every = list(objective.objectives) if isinstance(objective, Objectives) else [objective]
    own = [one.distance for one in every if isinstance(one, Objective) and one.space == "embedding"]
    return own[0].space if own else None


def pairs_of(splits: Splits, file: Path | None) -> PairList | None:
    """The pairs of ``evaluation.pairs``, by position in the test part; None without a file. Errors as of read_pairs."""
    if file is None:
        return None
    if pairs_in(splits.test) is not None:
        raise InputError("evaluation.pairs lists pairs of images, and the data are pairs of vectors: leave it null")
    return read_pairs(file, splits.file_names("test"), len(splits.test), key="evaluation.pairs")


def suffix_of(layer: str) -> str:
    """What a key of this layer ends in."""
    return "" if layer == "embedding" else f"_{layer}"
