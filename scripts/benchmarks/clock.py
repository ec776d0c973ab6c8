"""A Lightning callback that trains a few steps whenever it is told to, and says how long they took."""

import time
from typing import Any

import pytorch_lightning as pl

from benchmarks.turns import channel


class Clock(pl.Callback):
    """Waits before every ``steps`` steps for a word of the process that started this one.

    Args:
        steps: how many are timed at once.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.connection = channel()
        self.done = 0
        self.started = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.done % self.steps == 0:
            self.connection.send(time.perf_counter() - self.started)
            self.connection.recv()
            self.started = time.perf_counter()
        self.done += 1
