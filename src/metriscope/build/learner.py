"""From a composed config to the LightningModule of a run."""

from functools import partial
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig

from metriscope import seeds
from metriscope.build.network import build_embedder
from metriscope.build.objective import build_objective
from metriscope.config.plain import plain
from metriscope.data.datamodule import DataModule
from metriscope.training.learner import MetricLearner
from metriscope.training.optimizers import build_optimizer
from metriscope.training.schedules import build_scheduler


def build_module(cfg: DictConfig, data: DataModule) -> MetricLearner:
    """The LightningModule of ``cfg`` for this data; initial values are a function of the seed."""
    pl.seed_everything(seeds.derive(cfg.seed, "run") % 2**32, verbose=False)
    monitor = cfg.scheduler.get("monitor") or cfg.evaluation.monitor
    embedder = build_embedder(cfg, data.input_shape)
    objective = build_objective(cfg, data.num_classes, embedder.size)
    if cfg.compile:
        embedder.compile()
        objective.compile()
    return MetricLearner(
        embedder,
        objective,
        partial(build_optimizer, plain(cfg.optimizer)),
        partial(_scheduler, plain(cfg.scheduler), monitor),
        seed=cfg.seed,
    )


def _scheduler(section: Any, monitor: str, optimizer: Any, steps: int, per_epoch: int) -> dict[str, Any] | None:
    return build_scheduler(section, optimizer, steps, per_epoch, monitor)
