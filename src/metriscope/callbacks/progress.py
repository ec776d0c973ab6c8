"""Callbacks that show the progress of a run: a bar on a terminal, a line per epoch in the log."""

import logging
import time
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.callbacks import TQDMProgressBar

from metriscope.evaluation.metrics import title_of
from metriscope.run.folder import Run
from metriscope.terminal import is_interactive

_SHOWN = ("train/loss", "train/active_ratio", "val/recall_at_1", "val/map_at_r")

log = logging.getLogger(__name__)


class Bar(TQDMProgressBar):
    """Lightning's bar (steps, time, speed) with the loss and the active ratio of the latest step."""

    def __init__(self) -> None:
        # Reading a loss waits for the device, so the bar does not read it at every step.
        super().__init__(refresh_rate=10)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        known: dict[str, Any] = {**trainer.callback_metrics, **trainer.progress_bar_metrics}
        shown = [key.removeprefix("train/") for key in _SHOWN]  # of the latest step, not of the epoch
        return {_label(key): f"{float(known[key]):.3g}" for key in shown if key in known}


class EpochLines(Callback):
    """Logs one line per epoch: loss, active ratio, validation retrieval, seconds.

    Args:
        level: level of the log record; the terminal shows INFO and above.
    """

    def __init__(self, level: int) -> None:
        self.level = level
        self._start = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            line = epoch_line(trainer.current_epoch, trainer.max_epochs, trainer.callback_metrics)
            log.log(self.level, "%s  %.1f s", line, time.perf_counter() - self._start)


class FirstStep(Callback):
    """Logs one line after the first step: how long the start took, and its imports.

    Args:
        run: whose start it was.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._said = False

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        if trainer.is_global_zero and not self._said:
            run = self._run
            whole, imports = time.monotonic() - run.begun, run.imported - run.begun
            log.info("first step after %.1f s, %.1f s of them for checks and imports", whole, imports)
        self._said = True


def epoch_line(epoch: int, epochs: int | None, metrics: Any) -> str:
    """The line for ``epoch`` (from 0) of ``epochs`` (None or -1: no limit), with the metrics that are available."""
    parts = [f"{_label(key)} {float(metrics[key]):.4g}" for key in _SHOWN if key in metrics]
    total = f"/{epochs}" if epochs and epochs > 0 else ""
    return "  ".join([f"epoch {epoch + 1}{total}", *parts])


def _label(key: str) -> str:
    return f"val {title_of(key)}" if key.startswith("val/") else title_of(key)


def progress() -> "list[Callback]":
    """Trainer callbacks: a progress bar on a terminal, and one line per epoch in the log, printed elsewhere too.

    The trainer also needs ``enable_progress_bar=is_interactive()``.
    """
    from metriscope.callbacks.progress import Bar, EpochLines

    return [Bar(), EpochLines(logging.DEBUG)] if is_interactive() else [EpochLines(logging.INFO)]
