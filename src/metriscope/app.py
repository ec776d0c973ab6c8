"""One run from a composed config: check, build, fit, test, report. Importable, and without Hydra's command line."""

import errno
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from omegaconf import DictConfig

from metriscope.config.rules import check
from metriscope.errors import InputError, Interrupted, Pruned, RunError, nearest
from metriscope.evaluation.set_metric import own_metrics
from metriscope.outcome import Outcome, Parts
from metriscope.run.folder import Run, open_run
from metriscope.run.identity import located
from metriscope.run.ranks import forget_stale_ranks
from metriscope.run.record import FAILED, FINISHED, INTERRUPTED, PRUNED
from metriscope.run.slurm import back_to_the_queue, check_tasks
from metriscope.tracking.console import log_to_file, print_config, print_results

log = logging.getLogger(__name__)


@back_to_the_queue()
def train(cfg: DictConfig) -> Outcome:
    """Train the run that ``cfg`` describes, unless it has already finished; an unfinished run resumes.

    Raises:
        InputError: the configuration or the data are invalid, or the data differ from those that the run began
            with; raised before training.
        RunError: training had to stop, for example because the loss was not finite.
        Pruned: a search ended the run early.
        KeyboardInterrupt: a signal stopped the run; its state is saved.
    """
    config = located(check(cfg))
    check_tasks(config["trainer"])
    forget_stale_ranks(config["trainer"])
    with open_run(config) as run:
        if run.record and run.finished:
            splits = _load(run) if run.data else None
            metrics = run.summary()
            _print(run, metrics, f"finished before ({run.record.ended}); resume=never runs it afresh")
            return Outcome(metrics, run.folder, load=partial(_finished, run, splits))
        print_config(config)
        with log_to_file(run.folder), _recorded(run):
            outcome = _execute(run)
        if run.is_main:
            _print(run, outcome.metrics, "results")
        return outcome


@contextmanager
def _recorded(run: Run) -> Iterator[None]:
    """Write to ``run.json`` how the run ended."""
    run.start()
    if run.resumes:
        log.info("resuming %s", run.folder)
    try:
        yield
    except (Interrupted, KeyboardInterrupt, SystemExit) as error:
        # Lightning turns a KeyboardInterrupt into a SystemExit.
        reason = "stopped at once" if isinstance(error, SystemExit) else str(error) or "interrupted"
        run.end(INTERRUPTED, reason)
        raise KeyboardInterrupt(f"{reason}: the same command resumes {run.folder}") from error
    except Pruned as error:
        run.end(PRUNED, str(error))
        raise
    except OSError as error:
        log.debug("the run failed", exc_info=True)
        run.end(FAILED, str(error))
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
            raise RunError(f"cannot write to {run.folder}: {error.strerror}; make room and run again") from error
        raise
    except BaseException as error:
        log.debug("the run failed", exc_info=True)
        run.end(FAILED, f"{type(error).__name__}: {error}")
        raise
    run.end(FINISHED)


def _load(run: Run) -> Any:
    """Load the splits, and check that the data are those that the run began with.

    Raises:
        InputError: the data differ, or cannot be loaded.
    """
    from metriscope.data.fingerprint import check_same
    from metriscope.data.loading import load_splits

    splits = load_splits(run.config["dataset"])
    before = run.data
    if before and (run.finished or run.resumes):
        check_same(before, splits.fingerprint, run.folder)
        if before["times"] != splits.fingerprint["times"] and run.is_main:
            log.warning(
                "files of the data were written anew since %s began, under the same names and of the same sizes: "
                "if they are other images, set resume=never",
                run.folder,
            )
    return splits


def _resumed_step(run: Run, now: Mapping[str, Any]) -> int:
    """The step to resume from; the checkpoint must have been trained on the same data."""
    import torch

    from metriscope.data.datamodule import DataModule
    from metriscope.data.fingerprint import check_same

    try:
        state = torch.load(run.last_checkpoint, weights_only=True, map_location="cpu", mmap=True)
        # Lightning stores the state of a data module under its class name.
        step, data = int(state["global_step"]), state.get(DataModule.__qualname__, {})
    except Exception as error:
        raise InputError(
            f"{run.last_checkpoint} is no checkpoint to resume from: delete it, or set resume=never"
        ) from error
    if "fingerprint" in data:
        check_same(data["fingerprint"], now, run.folder)
    return step


def _unknown_monitor(config: Mapping[str, Any], metrics: Any) -> str | None:
    """Error message for a monitored metric that is never logged; None if all are logged."""
    for group in ("evaluation", "scheduler"):
        key, name = f"{group}.monitor", config[group].get("monitor")
        if name and name not in metrics:
            there = sorted(metric for metric in metrics if "/" in metric)
            return f"{key}={name}: no such metric{nearest(name, there)} There are: {', '.join(there)}"
    return None


def _execute(run: Run) -> Outcome:
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    from metriscope.build.loggers import build_loggers
    from metriscope.build.run import data_of, learner_of, trainer_of
    from metriscope.ending import report

    splits = _load(run)
    if run.is_main:
        log.info(splits.said())
    resumed_at = _resumed_step(run, splits.fingerprint) if run.resumes else None
    run.record_data(splits.fingerprint)
    data = data_of(run.config, splits)
    module = learner_of(run.config, data)
    loggers = build_loggers(run, resumed_at)
    exit_code = 1
    try:
        trainer, stop = trainer_of(run, data, loggers)
        with stop.listening():
            checkpoint = run.last_checkpoint if run.resumes else None
            try:
                trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
            except MisconfigurationException as error:
                raise InputError(_unknown_monitor(run.config, trainer.callback_metrics) or str(error)) from error
            best = run.best_checkpoint if run.best_checkpoint.exists() else None
            trainer.test(module, datamodule=data, ckpt_path=best, weights_only=True, verbose=False)
            metrics = report(run, trainer, module, data, loggers)
        exit_code = 0
    except Pruned:
        exit_code = 0
        raise
    finally:
        for logger in loggers:
            logger.finish(exit_code)
    return Outcome(metrics, run.folder, trained=True, load=partial(Parts, trainer, module, data))


def _finished(run: Run, splits: Any) -> Parts:
    from metriscope.build.finished import parts_of

    return parts_of(run, splits)


def _print(run: Run, metrics: dict[str, Any], title: str) -> None:
    config = run.config
    print_results(
        metrics,
        run.folder,
        str(config["dataset"]["protocol"]).replace("_", " "),
        epochs=run.record.epochs if run.record else None,
        seconds=run.record.seconds if run.record else None,
        title=title,
        own=list(own_metrics(config["evaluation"]).values()),
    )
