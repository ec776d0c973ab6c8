"""The callback that saves the state and stops the run on a signal."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch

from metriscope.errors import Interrupted
from metriscope.signals import notices

# How long an evaluation may continue after a notice: SLURM sends one about half a minute before it ends the job.
_EVALUATION_SECONDS = 15


class GracefulStop(pl.Callback):
    """On Ctrl-C, SIGTERM or a notice of the scheduler, finishes the step, saves ``last.ckpt`` and stops.

    A second identical signal stops immediately; in a SLURM job only a second Ctrl-C does. A Ctrl-C and a SIGTERM count
    as one request, because Ctrl-C reaches all processes of a terminal and a sweep also forwards it as SIGTERM.
    Processes that train together all stop after the same step.

    Args:
        checkpoint: where the state is saved.
        every_n_steps: how often several processes check whether any of them received a signal.
    """

    def __init__(self, checkpoint: Path, every_n_steps: int) -> None:
        self.checkpoint = checkpoint
        self.every_n_steps = every_n_steps
        self.received: int | None = None
        self._numbers: tuple[int, ...] = ()
        self._evaluates_until = math.inf

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received == number and (number == signal.SIGINT or not notices()):
            raise KeyboardInterrupt
        notice = number in notices()
        if self.received is None or notice:
            self.received = number
        if notice:
            self._evaluates_until = min(self._evaluates_until, time.monotonic() + _EVALUATION_SECONDS)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Installs the handlers for the duration of a ``with`` block (main thread only).

        After a signal they stay installed, so that later signals do not disturb the closing of the run.
        """
        self._numbers = (signal.SIGINT, signal.SIGTERM, *notices())
        previous = {number: signal.getsignal(number) for number in self._numbers}
        self._listen()
        try:
            yield
        finally:
            for number, handler in previous.items() if self.received is None else ():
                signal.signal(number, handler)

    def _listen(self) -> None:
        for number in self._numbers:
            signal.signal(number, self._receive)

    def _stop(self) -> None:
        assert self.received is not None
        raise Interrupted(self.received)

    def _told(self, trainer: pl.Trainer) -> bool:
        """Whether this process, or another process of the same training, received a signal."""
        if trainer.world_size > 1:
            number = torch.tensor(self.received or 0, device=trainer.strategy.root_device)
            self.received = int(trainer.strategy.reduce(number, reduce_op="max")) or None
        return self.received is not None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # By now Lightning has replaced this handler by its own for SIGTERM, which broadcasts at any point of a step.
        self._listen()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._listen()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The validation and the regular checkpoint follow the last batch of an epoch. Checkpoints do not hold gradients
        # that are still being accumulated.
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if not whole or trainer.is_last_batch:
            return
        if trainer.world_size > 1 and trainer.global_step % self.every_n_steps != 0:
            return
        if self._told(trainer):
            trainer.save_checkpoint(self.checkpoint)
            self._stop()

    def on_validation_batch_end(self, *args: Any, **kwargs: Any) -> None:
        # Repeating an epoch is better than losing the place in the queue.
        if time.monotonic() > self._evaluates_until:
            self._stop()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._told(trainer):
            self._stop()

    def on_test_batch_end(self, *args: Any, **kwargs: Any) -> None:
        if self.received is not None:
            self._stop()
