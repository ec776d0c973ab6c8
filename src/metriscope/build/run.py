"""Builds the parts of a run from its plain config; each builder gets its own sections."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from metriscope import seeds
from metriscope.build.callbacks import build_callbacks
from metriscope.build.data import build_data
from metriscope.build.learner import build_learner
from metriscope.build.modalities import check_metrics, check_pairs
from metriscope.build.network import TrunkOf, build_network
from metriscope.build.normalisation import normalisation
from metriscope.build.objective import build_objective
from metriscope.build.trainer import build_trainer
from metriscope.callbacks.class_neighbors import ClassNeighbors
from metriscope.callbacks.graceful_stop import GracefulStop
from metriscope.config.monitors import watching
from metriscope.config.trainer import evaluates_average
from metriscope.data.datamodule import DataModule
from metriscope.data.loading import load_splits
from metriscope.data.similar_classes import SimilarClassesBatchSampler
from metriscope.data.splits import Splits
from metriscope.errors import InputError
from metriscope.evaluation.monitors import monitor_of
from metriscope.evaluation.set_metric import known_metric
from metriscope.models.backbones import build_trunk
from metriscope.models.network import Network
from metriscope.models.shapes import of_pairs
from metriscope.objectives.objective import Objective
from metriscope.objectives.objectives import Objectives
from metriscope.run.folder import Run
from metriscope.signals import Stop
from metriscope.tracking.base import RunLogger
from metriscope.tracking.checkpoints import WholeCheckpoints
from metriscope.training.chunks import Chunks, check_chunks
from metriscope.training.learner import MetricLearner
from metriscope.training.moving_average import MovingAverage

log = logging.getLogger(__name__)

Config = Mapping[str, Any]

# Has batches for whatever data, where none is taken.
_ANY_SAMPLER = {"_target_": "metriscope.data.samplers.ShuffleBatchSampler"}


def data_of(config: Config, splits: Splits | None = None, trains: bool = True) -> DataModule:
    """The data of a run; ``splits`` are loaded from the section ``dataset`` if not given.

    Without training, the section ``sampler`` is not read.
    """
    splits = load_splits(config["dataset"], config["seed"]) if splits is None else splits
    if not of_pairs(splits.train.shape):
        check_metrics(config["evaluation"])
    return build_data(
        splits,
        config["dataset"],
        config["sampler"] if trains else _ANY_SAMPLER,
        config["augmentation"],
        config.get("backbone"),
        evaluation_batch_size=config["evaluation"]["batch_size"],
        cache_dir=Path(config["paths"]["cache_dir"]),
        seed=config["seed"],
        trains=trains,
        convert_late=trains and _embed_chunk(config) is not None,
        distractors=config["evaluation"].get("distractors"),
    )


def network_of(config: Config, input_shape: tuple[int, ...], trunk_of: TrunkOf = build_trunk) -> Network:
    """The network of a run, for inputs of this shape (no batch); ``trunk_of`` as of :func:`build_network`."""
    backbone = config["backbone"]
    if config.get("init"):
        # The trunk of the run that init names replaces them.
        backbone = {**backbone, "weights": None}
    return build_network(
        backbone,
        config["head"],
        input_shape,
        normalised_with=normalisation(config["dataset"], backbone, input_shape[0]),
        seed=config["seed"],
        trunk_of=trunk_of,
    )


def objective_of(
    config: Config, num_classes: int, embedding_size: int, *, trunk_size: int = 1, num_samples: int = 1
) -> Objective | Objectives:
    """The objective of a run, for C classes and N samples of training, embeddings of size D and features of size F."""
    return build_objective(
        config,
        num_classes=num_classes,
        sizes={"embedding": embedding_size, "trunk": trunk_size},
        num_samples=num_samples,
        seed=config["seed"],
        memory_mb=config.get("loss_memory_mb"),
    )


def learner_of(config: Config, data: DataModule, trunk_of: TrunkOf = build_trunk) -> MetricLearner:
    """The LightningModule of a run for this data; initial values are a function of the seed.

    Args:
        config: of the run.
        data: of the run.
        trunk_of: as of :func:`build_network`.
    """
    if not of_pairs(data.splits.train.shape):
        check_pairs(config)
    pl.seed_everything(seeds.derive(config["seed"], "run") % 2**32, verbose=False)
    embedder = network_of(config, data.input_shape, trunk_of)
    chunk = _embed_chunk(config)
    if chunk is not None:
        check_chunks(embedder, chunk)
    objective = objective_of(
        config,
        data.num_classes,
        embedder.size,
        trunk_size=embedder.trunk.out_features,
        num_samples=len(data.splits.train),
    )
    decay = (config.get("trainer") or {}).get("ema_decay")
    evaluated = evaluates_average(config["evaluation"])
    average = None if decay is None else MovingAverage(embedder, decay, evaluated=evaluated)
    if config["compile"]:
        embedder.compile()
        objective.compile()
        if average is not None:
            average.network.compile()
    scheduler = config["scheduler"]
    return build_learner(
        embedder,
        objective,
        config["optimizer"],
        scheduler,
        monitor=monitor_of(scheduler, "scheduler", config["evaluation"]) if "monitor" in scheduler else None,
        seed=config["seed"],
        chunks=None if chunk is None else Chunks(chunk),
        average=average,
    )


def _embed_chunk(config: Config) -> Any:
    return (config.get("trainer") or {}).get("embed_chunk")


def trainer_of(run: Run, data: DataModule, loggers: Sequence[RunLogger], stop: Stop) -> pl.Trainer:
    """The Lightning trainer of a run, which signals stop by ``stop``."""
    config = run.config
    every = config["trainer"]["log_every_n_steps"]
    interval, batches = config["trainer"].get("val_check_interval"), len(data.train_batch_sampler)
    if isinstance(interval, int) and interval > batches:
        raise InputError(
            f"trainer.val_check_interval={interval}: an epoch has {batches} batches; set it to at most that"
        )
    callbacks = build_callbacks(
        config["evaluation"],
        config["diagnostics"],
        config["callbacks"],
        config.get("sweep"),
        run,
        GracefulStop(stop, run.last_checkpoint, every),
        log_every_n_steps=every,
        validates=_selects(run, data.splits),
    )
    evaluates = config["evaluation"]["every_n_epochs"]
    if isinstance(data.train_batch_sampler, SimilarClassesBatchSampler):
        # First, as callbacks that look at the epoch to come may look at its batches.
        callbacks.insert(0, ClassNeighbors())
    kept = run.last_checkpoint, run.previous_checkpoint
    checkpoints = WholeCheckpoints(run.folder, kept, [logger.sync for logger in loggers])
    return build_trainer(config["trainer"], callbacks, loggers, run.folder, evaluates, checkpoints)


def _selects(run: Run, splits: Splits) -> bool:
    """Whether the validation set selects the best epoch.

    Raises:
        InputError: training goes by retrieval in a validation set in which nothing can be found.
    """
    if splits.validation is None or splits.validation.can_rank:
        return splits.validation is not None
    evaluation = run.config["evaluation"]
    why = "validation holds one image of each class, so that none can be found"
    what = "raise dataset.validation, or bring more images of each class to validate with"
    in_vain = {}
    for where, section in watching(run.config):
        metric = str(section.get("metric" if where == "sweep" else "monitor") or evaluation["monitor"])
        known = known_metric(metric, evaluation) if metric.startswith("val/") else None
        if known is not None and known.needs_matches:
            in_vain[where] = metric
    if driven := [where for where in in_vain if where != "evaluation"]:
        raise InputError(f"{driven[0]} goes by {in_vain[driven[0]]}, but {why}: {what}")
    if in_vain and run.is_main:
        log.warning("%s: %s selects no epoch, and the last one is tested (%s)", why, in_vain["evaluation"], what)
    return not in_vain
