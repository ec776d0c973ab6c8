"""A callback for runs that something is to happen to."""

import time
from pathlib import Path

import pytorch_lightning as pl

from metriscope.callbacks.graceful_stop import GracefulStop


class Hold(pl.Callback):
    """Keeps a run at a step until a signal reaches it, so that the signal surely finds it there.

    While it waits, there is a file ``holding`` in the run folder. A run that resumes after the step goes by.
    """

    def __init__(self, step: int, seconds: float = 300) -> None:
        self.step = step
        self.seconds = seconds

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step != self.step:
            return
        (stop,) = (callback for callback in trainer.callbacks if isinstance(callback, GracefulStop))
        mark = Path(trainer.default_root_dir) / f"holding-{trainer.global_rank}"
        mark.touch()
        deadline = time.monotonic() + self.seconds
        while stop.stop.received is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no signal within {self.seconds} s")
            time.sleep(0.05)
        mark.unlink()
