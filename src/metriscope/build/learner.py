"""Builds the LightningModule of a run from a network, an objective and sections of its config."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from metriscope.errors import RunError
from metriscope.evaluation.monitors import Monitor
from metriscope.evaluation.search.curved import Curved
from metriscope.models.network import Network
from metriscope.objectives.objective import Objective
from metriscope.objectives.objectives import Objectives
from metriscope.training.chunks import Chunks
from metriscope.training.learner import MetricLearner
from metriscope.training.moving_average import MovingAverage
from metriscope.training.optimizers import build_optimizer
from metriscope.training.schedules import build_scheduler


def build_learner(
    embedder: Network,
    objective: Objective | Objectives,
    optimizer: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    *,
    monitor: Monitor | None,
    seed: int,
    chunks: Chunks | None = None,
    average: MovingAverage | None = None,
) -> MetricLearner:
    """The LightningModule that trains ``embedder`` by ``objective``.

    Args:
        embedder, objective: the network, and the objective that trains it.
        optimizer, scheduler: sections of the config.
        monitor: the metric that a schedule goes by, and its better end; None where it goes by none.
        seed: the run's seed.
        chunks, average: as of :class:`MetricLearner`.
    """
    return MetricLearner(
        embedder,
        objective,
        partial(build_optimizer, optimizer),
        partial(_scheduler, scheduler, monitor),
        seed=seed,
        chunks=chunks,
        average=average,
    )


def build_embedding_only(network: Network, *, seed: int, space: Curved | None = None) -> MetricLearner:
    """The LightningModule that embeds with ``network``, ranks in ``space`` and has no objective to be trained by."""
    objective: Any = nn.Module()
    objective.space = space

    def none(*args: Any) -> Any:
        raise RunError("this module has no objective, so that it cannot be trained")

    return MetricLearner(network, objective, none, none, seed=seed)


def _scheduler(
    section: Mapping[str, Any], monitor: Monitor | None, optimizer: Any, steps: int, per_epoch: int
) -> dict[str, Any] | None:
    if monitor is None:
        return build_scheduler(section, optimizer, steps, per_epoch, "")
    watching = {**section, "monitor": monitor.metric, "mode": monitor.mode}
    return build_scheduler(watching, optimizer, steps, per_epoch, monitor.metric)
