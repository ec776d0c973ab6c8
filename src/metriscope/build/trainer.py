"""Builds the Lightning trainer of a run from the section ``trainer`` of its config."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger

from metriscope.errors import InputError
from metriscope.terminal import is_interactive
from metriscope.tracking.checkpoints import WholeCheckpoints

Section = Mapping[str, Any]

# Keys of the section that are no arguments of Lightning's Trainer.
_OF_OURS = ("name", "embed_chunk", "ema_decay")


def build_trainer(
    trainer: Section,
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
    folder: Path,
    every_n_epochs: int,
    checkpoints: WholeCheckpoints | None = None,
) -> pl.Trainer:
    """The Lightning trainer that the section ``trainer`` describes.

    Args:
        trainer: keys of :class:`pytorch_lightning.Trainer`, ``name``, ``embed_chunk`` and ``ema_decay``.
        callbacks, loggers: all callbacks and loggers of the run.
        folder: the run folder.
        every_n_epochs: epochs from one validation to the next.
        checkpoints: writes and reads the checkpoints.

    Raises:
        InputError: the accelerator is not available, or Lightning refuses a setting.
    """
    # At INFO level Lightning repeats its settings and prints advertisements.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
    # Evaluation gathers the embeddings of all processes before it computes: metrics are equal on every process.
    warnings.filterwarnings("ignore", message=r".*sync_dist=True.*")
    warnings.filterwarnings("ignore", message=r".*smaller than the logging interval.*")
    # A frozen trunk is in eval mode on purpose.
    warnings.filterwarnings("ignore", message=r".*in eval mode at the start of training.*")
    # A run without a validation set has no batches to validate with.
    warnings.filterwarnings("ignore", message=r"Total length of `list` across ranks is zero.*")
    # A run need not be a SLURM job on a machine where SLURM is installed.
    warnings.filterwarnings("ignore", message=r".*`srun` command is available.*")
    # The folder of a resumed run holds its own checkpoints.
    warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists and is not empty.*")
    options = {key: value for key, value in trainer.items() if key not in _OF_OURS}
    plugins: list[Any] = [checkpoints or WholeCheckpoints(folder)]
    if SLURMEnvironment.detect():
        # metriscope.run.slurm requeues the job.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    try:
        return pl.Trainer(
            **options,
            callbacks=list(callbacks),
            logger=list(loggers),
            default_root_dir=folder,
            check_val_every_n_epoch=every_n_epochs,
            num_sanity_val_steps=0,
            inference_mode=False,
            use_distributed_sampler=False,
            enable_model_summary=False,
            enable_progress_bar=is_interactive(),
            plugins=plugins,
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        line = " ".join(str(error).split())
        raise InputError(
            f"trainer: {line} (accelerator={trainer.get('accelerator', 'auto')}); trainer=auto takes what is there"
        ) from error
