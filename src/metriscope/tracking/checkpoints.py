"""Checkpoints of a run: replaced as a whole or not at all, verified before every load, never ahead of the history."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import ModelCheckpoint

from metriscope import tensor_files
from metriscope.errors import RunError


class Resumed(NamedTuple):
    """The checkpoint that a run goes on from.

    Attributes:
        path: of its file.
        global_step: the optimiser steps done.
        epochs: how many were trained to their end.
    """

    path: Path
    global_step: int
    epochs: int


class WholeCheckpoints(TorchCheckpointIO):
    """Writes and reads checkpoints as sealed files.

    Lightning writes to the system's temporary folder and moves the file: across file systems this is a copy, which
    stays incomplete if the process is killed.

    Args:
        folder: the run folder; it is not made again once it is gone.
        kept: the checkpoint whose file so far gets the second name when it is written anew.
        before: called before every write, to put on disk what a resumed run needs besides the checkpoint.
    """

    def __init__(
        self, folder: Path, kept: tuple[Path, Path] | None = None, before: Sequence[Callable[[], object]] = ()
    ) -> None:
        super().__init__()
        self.folder, self.kept, self.before = folder, kept, before

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        for call in self.before:
            call()
        # Raises where it is gone.
        self.folder.stat()
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        last, previous = self.kept or (None, None)
        # Lightning resolves links in the paths of its callbacks.
        is_last = last is not None and os.path.realpath(path) == os.path.realpath(last)
        tensor_files.save(checkpoint, path, previous if is_last else None)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        try:
            content: dict[str, Any] = tensor_files.load(Path(path))
        except (tensor_files.Damaged, tensor_files.Unsafe) as error:
            raise RunError(f"{path} {error}") from error
        return content


class _InItsFolder(ModelCheckpoint):
    """Keeps its state where the run folder has moved, or was copied from a shorter run: Lightning forgets it there."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def here(path: str) -> str:
            return str(Path(self.dirpath or "", Path(path).name)) if path else path

        moved: dict[str, Any] = {**state_dict, "dirpath": self.dirpath}
        for name in {"best_model_path", "kth_best_model_path"} & moved.keys():
            moved[name] = here(moved[name])
        moved["best_k_models"] = {here(path): value for path, value in state_dict.get("best_k_models", {}).items()}
        super().load_state_dict(moved)


class LastCheckpoint(_InItsFolder):
    """Saves at the end of every epoch, once the loggers have the metrics of the epoch.

    Lightning logs them after the callbacks: a run killed in between would resume behind them, and never log them.
    """

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        connector, loop = trainer._logger_connector, trainer.fit_loop.epoch_loop
        connector.on_epoch_end()
        # As Lightning does: the metrics of an epoch have the number of its last step.
        loop._batches_that_stepped -= 1
        connector.update_train_epoch_metrics()
        loop._batches_that_stepped += 1
        super().on_train_epoch_end(trainer, pl_module)


class BestCheckpoint(_InItsFolder):
    """Saves when the monitored metric is better than before, also in a run folder that has moved.

    There it would save a worse epoch over the best one, had it forgotten the best value.
    """

    @property
    def state_key(self) -> str:
        # Checkpoints hold this callback's state below the name of Lightning's.
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)
