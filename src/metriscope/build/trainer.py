"""From a composed config to the parts of a run."""

import logging
import warnings
from functools import partial
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger

from metriscope.build.data import build_data
from metriscope.build.learner import build_module
from metriscope.build.loggers import build_loggers
from metriscope.build.objective import build_objective
from metriscope.callbacks.evaluation import EvaluationMonitor
from metriscope.callbacks.finite import BatchGuard
from metriscope.callbacks.graceful_stop import GracefulStop
from metriscope.callbacks.greediness import GreedinessMonitor
from metriscope.callbacks.progress import progress
from metriscope.config.plain import plain
from metriscope.data.datamodule import DataModule
from metriscope.diagnostics.variance import VarianceMetrics
from metriscope.errors import InputError
from metriscope.evaluation.retrieval import RetrievalMetrics
from metriscope.run.folder import Run
from metriscope.terminal import is_interactive
from metriscope.tracking.checkpoints import WholeCheckpoints
from metriscope.tracking.loggers import Loggers

__all__ = ["Loggers", "build_data", "build_loggers", "build_module", "build_objective", "build_trainer"]


_RETRIEVAL = ("recall_at", "precision_at", "mrr", "memory_mb")


def build_trainer(
    cfg: DictConfig, run: Run, data: DataModule, loggers: list[Logger]
) -> tuple[pl.Trainer, GracefulStop]:
    """The Lightning trainer with everything that watches, and the callback that stops it on a signal.

    Raises:
        InputError: an accelerator that is not there, or a trainer setting that Lightning refuses.
    """
    # Lightning tells what it was told to do, and advertises.
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\).*")
    # Evaluation gathers before it computes: its figures are the same on every process.
    warnings.filterwarnings("ignore", message=r".*sync_dist=True.*")
    warnings.filterwarnings("ignore", message=r".*smaller than the logging interval.*")
    # A frozen trunk evaluates on purpose.
    warnings.filterwarnings("ignore", message=r".*in eval mode at the start of training.*")
    # Where SLURM is installed, not every run is a job.
    warnings.filterwarnings("ignore", message=r".*`srun` command is available.*")
    # A run that resumes finds its own checkpoints there.
    warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists and is not empty.*")
    stop = GracefulStop(run.last_checkpoint, cfg.trainer.log_every_n_steps)
    threshold = cfg.diagnostics.pair_weight_threshold if cfg.diagnostics.greediness else None
    asked = plain(cfg.evaluation)
    retrieval = partial(RetrievalMetrics, **{key: asked[key] for key in _RETRIEVAL})
    callbacks = [
        EvaluationMonitor(retrieval, VarianceMetrics if cfg.diagnostics.variance else None, asked["layers"]),
        GreedinessMonitor(threshold, cfg.trainer.log_every_n_steps),
        BatchGuard(cfg.trainer.log_every_n_steps),
        *(instantiate(section) for key, section in cfg.callbacks.items() if key != "name" and section),
        *progress(),
        *_pruning(cfg),
        stop,
        *_checkpoints(cfg, run, data.splits.validation is not None),
    ]
    options = plain(cfg.trainer)
    options.pop("name")
    plugins: list[Any] = [WholeCheckpoints()]
    if SLURMEnvironment.detect():
        # The way back to the queue is the run's own: see metriscope.run.slurm.
        plugins.append(SLURMEnvironment(auto_requeue=False))
    try:
        trainer = pl.Trainer(
            **options,
            callbacks=callbacks,
            logger=loggers,
            default_root_dir=run.folder,
            check_val_every_n_epoch=cfg.evaluation.every_n_epochs,
            num_sanity_val_steps=0,
            inference_mode=False,
            use_distributed_sampler=False,
            enable_model_summary=False,
            enable_progress_bar=is_interactive(),
            plugins=plugins,
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        line = " ".join(str(error).split())
        raise InputError(
            f"trainer: {line} (accelerator={cfg.trainer.accelerator}); trainer=auto takes what is there"
        ) from error
    return trainer, stop


def _pruning(cfg: DictConfig) -> list[pl.Callback]:
    if OmegaConf.select(cfg, "sweep.trial") is None or not cfg.sweep.pruner:
        return []
    from metriscope.callbacks.pruning import Pruning

    return [Pruning(cfg)]


def _checkpoints(cfg: DictConfig, run: Run, validates: bool) -> list[ModelCheckpoint]:
    folder = run.last_checkpoint.parent
    options: dict[str, Any] = {"dirpath": folder, "enable_version_counter": False, "save_top_k": 1}
    last = ModelCheckpoint(filename="last", save_on_train_epoch_end=True, **options)
    if not validates:
        return [last]
    monitored = {"monitor": cfg.evaluation.monitor, "mode": cfg.evaluation.mode}
    best = ModelCheckpoint(filename="best", save_on_train_epoch_end=False, **monitored, **options)
    return [best, last]
