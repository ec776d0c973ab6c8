"""Builds the callbacks of a run from sections of its config."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from metriscope.callbacks.evaluation import EvaluationMonitor
from metriscope.callbacks.finite import BatchGuard
from metriscope.callbacks.graceful_stop import GracefulStop
from metriscope.callbacks.greediness import GreedinessMonitor
from metriscope.callbacks.progress import progress
from metriscope.config.callbacks import callback_sections
from metriscope.diagnostics.variance import VarianceMetrics
from metriscope.evaluation.monitors import monitor_of
from metriscope.evaluation.retrieval import RetrievalMetrics
from metriscope.evaluation.set_metric import build_own_metrics
from metriscope.parts import instantiate
from metriscope.run.folder import Run

_RETRIEVAL = ("recall_at", "precision_at", "mrr", "memory_mb")

Section = Mapping[str, Any]


def build_callbacks(
    evaluation: Section,
    diagnostics: Section,
    callbacks: Section,
    sweep: Section | None,
    run: Run,
    stop: GracefulStop,
    *,
    log_every_n_steps: int,
    validates: bool,
) -> list[pl.Callback]:
    """Evaluation, diagnostics, guards, the user's own callbacks, progress and checkpoints, in the order of their calls.

    Args:
        evaluation, diagnostics, callbacks, sweep: sections of the config; ``sweep`` is None outside of a search.
        run: the run whose checkpoints are written.
        stop: the callback that saves the state and stops the run on a signal.
        log_every_n_steps: how often steps are logged.
        validates: whether there is a validation set, which selects the best checkpoint.
    """
    threshold = diagnostics["pair_weight_threshold"] if diagnostics["greediness"] else None
    return [
        build_evaluation(evaluation, diagnostics),
        GreedinessMonitor(threshold, log_every_n_steps),
        *_own_diagnostics(diagnostics),
        BatchGuard(log_every_n_steps),
        *(instantiate(section, where) for where, section in callback_sections(callbacks, evaluation)),
        *progress(),
        *_pruning(sweep, run),
        stop,
        *_checkpoints(evaluation, run, validates),
    ]


def build_evaluation(evaluation: Section, diagnostics: Section) -> EvaluationMonitor:
    """The callback that computes the metrics of evaluated sets; arguments as of :func:`build_callbacks`."""
    retrieval = partial(RetrievalMetrics, **{key: evaluation[key] for key in _RETRIEVAL})
    variance = VarianceMetrics if diagnostics["variance"] else None
    return EvaluationMonitor(retrieval, variance, evaluation["layers"], build_own_metrics(evaluation))


def _own_diagnostics(diagnostics: Section) -> list[pl.Callback]:
    sections = diagnostics.get("own") or {}
    return [instantiate(section, f"diagnostics.own.{name}") for name, section in sections.items()]


def _pruning(sweep: Section | None, run: Run) -> list[pl.Callback]:
    if sweep is None or sweep.get("trial") is None or not sweep["pruner"]:
        return []
    from metriscope.callbacks.pruning import Pruning

    return [Pruning(sweep, study=run.config["study"])]


def _checkpoints(evaluation: Section, run: Run, validates: bool) -> list[ModelCheckpoint]:
    folder = run.last_checkpoint.parent
    options: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_top_k": 1}
    last = ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **options)
    if not validates:
        return [last]
    metric, mode = monitor_of(evaluation, "evaluation", evaluation)
    best = ModelCheckpoint(filename="best", save_on_train_epoch_end=False, monitor=metric, mode=mode, **options)
    return [best, last]
