"""Builds the LightningModule of a run from a network, an objective and sections of its config."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from metriscope.models.embedder import Embedder
from metriscope.objectives.objective import Objective
from metriscope.training.learner import MetricLearner
from metriscope.training.optimizers import build_optimizer
from metriscope.training.schedules import build_scheduler


def build_learner(
    embedder: Embedder,
    objective: Objective,
    optimizer: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    *,
    monitor: str,
    seed: int,
) -> MetricLearner:
    """The LightningModule that trains ``embedder`` by ``objective``.

    Args:
        embedder, objective: the network, and the objective that trains it.
        optimizer, scheduler: sections of the config.
        monitor: the metric that a schedule watches unless ``scheduler.monitor`` names one.
        seed: the run's seed.
    """
    return MetricLearner(
        embedder,
        objective,
        partial(build_optimizer, optimizer),
        partial(_scheduler, scheduler, scheduler.get("monitor") or monitor),
        seed=seed,
    )


def _scheduler(section: Any, monitor: str, optimizer: Any, steps: int, per_epoch: int) -> dict[str, Any] | None:
    return build_scheduler(section, optimizer, steps, per_epoch, monitor)
