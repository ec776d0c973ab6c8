"""Training jobs through the real trainer, timed from inside."""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytorch_lightning as pl

# The job of a user who wants the loss and retrieval alone: no validation split, no classifiers, no figures.
OVERRIDES = (
    "loss=triplet",
    "miner=semihard",
    "dataset=mnist",
    "dataset.validation=0",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "evaluation.classification=false",
    "logger=none",
    "resume=never",
    "+callbacks.stopwatch._target_=benchmarks.stopwatch.Stopwatch",
)


class Span(NamedTuple):
    """Seconds on the wall, and of CPU over all threads of the process: the latter hardly minds a busy machine."""

    wall: float
    cpu: float

    @classmethod
    def now(cls) -> "Span":
        return cls(time.perf_counter(), time.process_time())

    def since(self, start: "Span") -> "Span":
        return Span(self.wall - start.wall, self.cpu - start.cpu)


class Spans(NamedTuple):
    """The training epoch, the evaluation of the test set, and the whole of ``train(cfg)``."""

    training: Span
    evaluation: Span
    job: Span


class Stopwatch(pl.Callback):
    """Takes the time of the training epoch and of the test, with everything that other callbacks do in them."""

    def __init__(self) -> None:
        self.started = self.training = self.evaluation = Span.now()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = Span.now()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.training = Span.now().since(self.started)

    def on_test_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = Span.now()

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.evaluation = Span.now().since(self.started)


def timed_job(overrides: list[str]) -> tuple[Spans, dict[str, Any]]:
    """One run of the command line ``OVERRIDES overrides``: its times and its metrics."""
    import metriscope.build.run
    import metriscope.ending  # noqa: F401  (imports are not part of the time)
    from metriscope.app import train
    from metriscope.config.compose import compose_config

    before = Span.now()
    with silence():
        outcome = train(compose_config([*OVERRIDES, *overrides]))
    job = Span.now().since(before)
    watch = next(c for c in outcome.trainer.callbacks if isinstance(c, Stopwatch))
    return Spans(watch.training, watch.evaluation, job), outcome.metrics


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing reaches the terminal."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
