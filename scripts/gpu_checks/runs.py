"""Whole runs by the trainer, on random images."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from metriscope.app import train
from metriscope.config.compose import compose_config

COMMON = (
    "loss=triplet",
    "miner=semihard",
    "dataset=digits",
    "dataset.name=random_images",
    "dataset._target_=gpu_checks.images.load",
    "dataset.mean=[0.5]",
    "dataset.std=[0.25]",
    "dataset.validation=0",
    "trainer.max_epochs=1",
    "evaluation.classification=false",
    "logger=none",
    "resume=never",
    "+callbacks.watch._target_=gpu_checks.runs.Watch",
)


class Watch(pl.Callback):
    """Seconds of the epoch of training, and MiB at its peak on a GPU."""

    def __init__(self) -> None:
        self.begun, self.seconds = 0.0, 0.0
        self.mebibytes: float | None = None

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self.begun = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()
            self.mebibytes = torch.cuda.max_memory_allocated() / 2**20
        self.seconds = time.perf_counter() - self.begun


def timed(device: torch.device, words: Sequence[str], images: Mapping[str, int]) -> tuple[Watch, dict[str, Any]]:
    """What a run of one epoch takes, and its metrics."""
    own = [f"trainer.accelerator={'gpu' if device.type == 'cuda' else 'cpu'}", "trainer.devices=1"]
    own += [f"+dataset.{key}={value}" for key, value in images.items()]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        outcome = train(compose_config([*COMMON, *own, f"paths.output_dir={folder}", *words]))
        watch = next(one for one in outcome.trainer.callbacks if isinstance(one, Watch))
    return watch, dict(outcome.metrics)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
