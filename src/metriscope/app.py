"""One run from a composed config: check, build, fit, test, report. Importable, and without Hydra's command line."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from metriscope.config.rules import check
from metriscope.errors import InputError, Interrupted, Pruned, RunError, nearest
from metriscope.evaluation.set_metric import own_metrics
from metriscope.outcome import Outcome, Parts
from metriscope.run.folder import Run, open_run
from metriscope.run.identity import located
from metriscope.run.ranks import forget_stale_ranks
from metriscope.run.record import FAILED, FINISHED, INTERRUPTED, PRUNED, Status
from metriscope.run.shortages import shortage
from metriscope.run.slurm import back_to_the_queue, check_tasks
from metriscope.run.source import source_of
from metriscope.signals import Stop
from metriscope.tracking.console import log_to_file, print_config, print_results
from metriscope.tracking.guard import first_line

if TYPE_CHECKING:
    from metriscope.tracking.base import RunLogger

log = logging.getLogger(__name__)


@back_to_the_queue()
def train(cfg: DictConfig) -> Outcome:
    """Train the run that ``cfg`` describes, unless it has already finished; an unfinished run resumes.

    >>> from metriscope import compose_config, train
    >>> outcome = train(compose_config(["dataset=digits", "trainer.max_epochs=1", "logger=none"]))
    >>> outcome.metrics["test/recall_at_1"] > 0.5
    True

    Raises:
        InputError: the configuration or the data are invalid, or the data differ from those that the run began
            with; raised before training.
        RunError: training had to stop, for example because the loss was not finite.
        Pruned: a search ended the run early.
        KeyboardInterrupt: a signal stopped the run; its state is saved.
    """
    begun = time.monotonic()
    return carry_out(located(check(cfg)), _execute, _finished, begun)


def carry_out(
    config: Mapping[str, Any],
    execute: Callable[[Run, Stop], Outcome],
    finished: Callable[[Run, Any], Parts],
    begun: float,
    lacks: Callable[[Run], bool] = lambda run: False,
) -> Outcome:
    """Do the work of the run with this config in its folder, and record how it ended; one that has finished is shown.

    Args:
        config: checked and located.
        execute: does the work.
        finished: loads the parts of a run that had finished before, from it and its splits.
        begun: when the process began to work for it, in seconds of the monotonic clock.
        lacks: whether a run that has finished has to be repeated, as something is asked for that it did not write.

    Raises:
        as of :func:`train`.
    """
    check_tasks(config["trainer"])
    forget_stale_ranks(config["trainer"])
    with open_run(config) as run:
        if run.record and run.finished and not lacks(run):
            splits = load_checked(run) if run.data else None
            metrics = run.summary()
            _print(run, metrics, f"finished before ({run.record.ended}); resume=never runs it afresh")
            return Outcome(metrics, run.folder, load=partial(finished, run, splits))
        if config.get("init") and not run.resumes:
            source_of(Path(config["init"]), run.folder)
        print_config(config)
        _import_parts()
        run.begun, run.imported = begun, time.monotonic()
        stop = Stop()
        with _in_one_line(run.folder), log_to_file(run.folder), stop.listening(), _recorded(run, stop):
            outcome = execute(run, stop)
        if stop.received is not None and stop.noticed is None:
            # A sweep has to stop as well.
            raise KeyboardInterrupt(f"{Interrupted(stop.received)}: {run.folder} is finished")
        if run.is_main:
            _print(run, outcome.metrics, "results")
        return outcome


def _import_parts() -> None:
    """Import what a run needs before its record begins: a signal that interrupts an import may go unseen."""
    import metriscope.build.run
    import metriscope.ending  # noqa: F401


@contextmanager
def _in_one_line(folder: Path) -> Iterator[None]:
    """Turn the error of a disk, a memory or a folder that was taken away into a line.

    Raises:
        RunError: the line.
    """
    try:
        yield
    except (OSError, RuntimeError, MemoryError) as error:
        line = shortage(error, folder)
        if line is None:
            raise
        raise RunError(line) from error


@contextmanager
def _recorded(run: Run, stop: Stop) -> Iterator[None]:
    """Write to ``run.json`` how the run ended; signals wait while it is written."""
    stop.hold()
    run.start()
    if run.resumes:
        log.info("resuming %s", run.folder)
    try:
        stop.release()
        yield
        stop.hold()
    except BaseException as error:
        stop.hold()
        if stop.received is not None or isinstance(error, KeyboardInterrupt | Interrupted | SystemExit):
            reason = _interruption(stop.received, error)
            _end(run, INTERRUPTED, reason)
            # A job goes back to the queue by the cause.
            cause = error if stop.received is None else Interrupted(stop.received)
            raise KeyboardInterrupt(f"{reason}: the same command resumes {run.folder}") from cause
        if isinstance(error, Pruned):
            run.end(PRUNED, str(error))
            raise
        log.debug("the run failed", exc_info=True)
        told = shortage(error, run.folder) or (str(error) if isinstance(error, OSError) else None)
        _end(run, FAILED, told or f"{type(error).__name__}: {error}")
        raise
    run.end(FINISHED)


def _end(run: Run, status: Status, reason: str) -> None:
    """Write how the run ended, as far as that is possible: what ended it may also keep its record from being written.

    A record that stays ``running`` without a process reads as interrupted.
    """
    try:
        run.end(status, reason)
    except OSError as error:
        log.debug("the record cannot be written: %s", error)


def _interruption(received: int | None, error: BaseException) -> str:
    """Why a run was interrupted; whatever it raises after a signal may be a consequence of it."""
    if received is None:
        # Lightning turns a KeyboardInterrupt into a SystemExit.
        return "stopped at once" if isinstance(error, SystemExit) else str(error) or "interrupted"
    reason = str(Interrupted(received))
    log.debug("the run was %s", reason, exc_info=error)
    if isinstance(error, KeyboardInterrupt | Interrupted | SystemExit):
        return reason
    return f"{reason} ({type(error).__name__}: {first_line(error)})"


def load_checked(run: Run) -> Any:
    """Load the splits, and check that the data, and the weights that ``init`` names, are those that the run began with.

    Raises:
        InputError: they differ, or the data cannot be loaded.
    """
    from metriscope.build.initial import check_unchanged
    from metriscope.data.fingerprint import check_same
    from metriscope.data.loading import load_splits

    splits = load_splits(run.config["dataset"], run.config["seed"])
    before = run.data
    if before and (run.finished or run.resumes):
        check_same(before, splits.fingerprint, run.folder)
        if before.get("times") != splits.fingerprint["times"] and run.is_main:
            log.warning(
                "files of the data were written anew since %s began, under the same names and of the same sizes: "
                "if they are other images, set resume=never",
                run.folder,
            )
    check_unchanged(run)
    if pairs := run.config["evaluation"].get("pairs"):
        from metriscope.callbacks.evaluation import pairs_of

        pairs_of(splits, Path(pairs))
    return splits


def _unknown_monitor(config: Mapping[str, Any], metrics: Any) -> str | None:
    """Error message for a monitored metric that is never logged; None if all are logged."""
    from metriscope.evaluation.set_metric import known_metric

    for group in ("evaluation", "scheduler"):
        key, name = f"{group}.monitor", config[group].get("monitor")
        if name and name not in metrics:
            there = sorted(metric for metric in metrics if "/" in metric)
            why = f"no such metric{nearest(name, there)}"
            if known_metric(name, config["evaluation"]) is not None:
                why = "this run does not measure it, as where nothing of a validation set has another of its class."
            return f"{key}={name}: {why} There are: {', '.join(there)}"
    return None


def _execute(run: Run, stop: Stop) -> Outcome:
    from lightning_fabric.utilities.exceptions import MisconfigurationException

    from metriscope.build.few_images import warn_of_few_images
    from metriscope.build.loggers import build_loggers
    from metriscope.build.resume import selected
    from metriscope.build.run import data_of, learner_of, trainer_of
    from metriscope.build.start import start_of
    from metriscope.data.label_noise import write_label_noise
    from metriscope.ending import report
    from metriscope.reports.suspects import judgement_of

    splits = load_checked(run)
    if run.is_main:
        log.info(splits.said())
    data = data_of(run.config, splits)
    module = learner_of(run.config, data)
    start = start_of(run, module, splits.fingerprint)
    if run.is_main and start is None and not run.config.get("init"):
        warn_of_few_images(module.embedder.trunk, splits, data.input_shape)
    run.record_data(splits.fingerprint)
    if run.is_main and splits.noise is not None:
        write_label_noise(run.folder / "label_noise.csv", splits.noise, splits.train, splits.file_names("train"))
    loggers: list[RunLogger] = []
    exit_code = 1
    try:
        with stop.waiting():
            loggers += build_loggers(run, start)
            trainer = trainer_of(run, data, loggers, stop)
            try:
                trainer.fit(module, datamodule=data, ckpt_path=start and start.path, weights_only=True)
            except MisconfigurationException as error:
                raise InputError(_unknown_monitor(run.config, trainer.callback_metrics) or str(error)) from error
            # The test loads the weights of the best epoch, with what was known of the samples then.
            suspected = judgement_of(module.objective)
            best = selected(run, trainer, module)
            path = run.best_checkpoint if best else None
            trainer.test(module, datamodule=data, ckpt_path=path, weights_only=True, verbose=False)
        metrics = report(run, trainer, module, data, loggers, best, suspected)
        exit_code = 0
    except Pruned:
        exit_code = 0
        raise
    finally:
        for logger in loggers:
            logger.finish(exit_code)
    unsent = any(logger.unsent for logger in loggers)
    return Outcome(metrics, run.folder, trained=True, unsent=unsent, load=partial(Parts, trainer, module, data))


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
