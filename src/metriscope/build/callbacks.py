"""Builds the callbacks of a run from sections of its config."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from metriscope.callbacks.accumulation import AccumulationWarning
from metriscope.callbacks.evaluation import EvaluationMonitor
from metriscope.callbacks.finite import BatchGuard
from metriscope.callbacks.graceful_stop import GracefulStop
from metriscope.callbacks.greediness import GreedinessMonitor
from metriscope.callbacks.progress import FirstStep, progress
from metriscope.config.callbacks import callback_sections
from metriscope.evaluation.measures import SKIPPED
from metriscope.evaluation.monitors import monitor_of
from metriscope.evaluation.set_metric import build_metrics
from metriscope.parts import arguments_of, instantiate, locate
from metriscope.run.folder import Run
from metriscope.tracking.checkpoints import BestCheckpoint, LastCheckpoint
from metriscope.tracking.wandb import asks

# What per_class.csv, per_query.csv and the tables of W&B show.
_SHOWN = SKIPPED._replace(recall_at=(1,), map_at_r=True)

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
    return [
        build_evaluation(evaluation, asks(run.config, "tables")),
        *build_diagnostics(diagnostics, evaluation, log_every_n_steps),
        BatchGuard(log_every_n_steps),
        AccumulationWarning(),
        *(instantiate(section, where) for where, section in callback_sections("callbacks", callbacks, evaluation)),
        *progress(),
        FirstStep(run),
        *_pruning(sweep, run),
        stop,
        *_checkpoints(evaluation, run, validates),
    ]


def build_evaluation(evaluation: Section, tables: bool = False) -> EvaluationMonitor:
    """The callback that computes the metrics of evaluated sets.

    Args:
        evaluation: as of :func:`build_callbacks`.
        tables: whether tables of the test set are logged.
    """
    further = _SHOWN if evaluation["per_class"] or evaluation.get("per_query") or tables else None
    pairs = Path(evaluation["pairs"]) if evaluation.get("pairs") else None
    return EvaluationMonitor(build_metrics(evaluation), evaluation["layers"], evaluation["memory_mb"], further, pairs)


def build_diagnostics(diagnostics: Section, evaluation: Section, log_every_n_steps: int) -> list[pl.Callback]:
    """The diagnostics that are switched on, the loss itself in any case; arguments as of :func:`build_callbacks`.

    A diagnostic that takes ``layers`` or ``log_every_n_steps`` by name gets those of the run.
    """
    of_run = {"layers": evaluation["layers"], "log_every_n_steps": log_every_n_steps}
    found: list[pl.Callback] = []
    for where, section in callback_sections("diagnostics", diagnostics, evaluation):
        takes = arguments_of(locate(section["_target_"], f"{where}."))
        further = {key: value for key, value in of_run.items() if key in takes and key not in section}
        found.append(instantiate(section, where, **further))
    watched = any(isinstance(one, GreedinessMonitor) for one in found)
    return found if watched else [GreedinessMonitor(None, log_every_n_steps), *found]


def build_evaluating_callbacks(
    evaluation: Section, diagnostics: Section, callbacks: Section, log_every_n_steps: int
) -> list[pl.Callback]:
    """Those callbacks of a run that follow a test; arguments as of :func:`build_callbacks`."""
    own = [instantiate(section, where) for where, section in callback_sections("callbacks", callbacks, evaluation)]
    found = [*build_diagnostics(diagnostics, evaluation, log_every_n_steps), *own]
    hooks = [name for name in vars(pl.Callback) if name.startswith("on_test_")]
    follow = [one for one in found if any(getattr(type(one), hook) is not getattr(pl.Callback, hook) for hook in hooks)]
    return [build_evaluation(evaluation), *follow]


def _pruning(sweep: Section | None, run: Run) -> list[pl.Callback]:
    if sweep is None or sweep.get("trial") is None or not sweep["pruner"]:
        return []
    from metriscope.callbacks.pruning import Pruning

    return [Pruning(sweep, study=run.config["study"])]


def _checkpoints(evaluation: Section, run: Run, validates: bool) -> list[ModelCheckpoint]:
    folder = run.last_checkpoint.parent
    options: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_top_k": 1}
    last = LastCheckpoint(filename="last", save_on_train_epoch_end=True, **options)
    if not validates:
        return [last]
    metric, mode = monitor_of(evaluation, "evaluation", evaluation)
    best = BestCheckpoint(filename="best", save_on_train_epoch_end=False, monitor=metric, mode=mode, **options)
    return [best, last]
