"""From a composed config to the parts of a run."""

import logging
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import get_class, instantiate
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger

from metriscope import seeds
from metriscope.build.data import build_data
from metriscope.build.network import build_embedder
from metriscope.callbacks.evaluation import EvaluationMonitor
from metriscope.callbacks.graceful_stop import BatchGuard, GracefulStop
from metriscope.callbacks.greediness import GreedinessMonitor
from metriscope.config.files import plain, section
from metriscope.data.datamodule import DataModule
from metriscope.diagnostics.variance import VarianceMetrics
from metriscope.errors import InputError
from metriscope.evaluation.retrieval import RetrievalMetrics
from metriscope.objectives.losses.base import Loss
from metriscope.objectives.losses.weighted_sum import SumLoss
from metriscope.objectives.objective import Objective
from metriscope.objectives.references.memory import CrossBatchMemory
from metriscope.run.folder import Run
from metriscope.tracking.checkpoints import WholeCheckpoints
from metriscope.tracking.console import is_interactive, progress
from metriscope.tracking.history import HistoryLogger
from metriscope.tracking.wandb import GuardedWandb, build_wandb
from metriscope.training.learner import MetricLearner
from metriscope.training.optimizers import build_optimizer, build_scheduler

__all__ = ["Loggers", "build_data", "build_loggers", "build_module", "build_objective", "build_trainer"]


_RETRIEVAL = ("recall_at", "precision_at", "mrr", "memory_mb")


def _part(section: DictConfig, **further: Any) -> Any:
    """The object that a section with a ``_target_`` describes; ``name`` is the choice, not an argument."""
    arguments = plain(section)
    arguments.pop("name", None)
    try:
        return instantiate(arguments, **further)
    except InstantiationException as error:
        # Hydra wraps what a constructor raises, however plainly it was said.
        if isinstance(error.__cause__, InputError):
            raise error.__cause__ from error
        raise


def _loss(node: Any, num_classes: int, embedding_size: int) -> Loss:
    loss_class: Any = get_class(node._target_)
    sizes = {"num_classes": num_classes, "embedding_size": embedding_size} if loss_class.takes_sizes else {}
    loss: Loss = _part(node, **sizes)
    return loss


def build_objective(cfg: DictConfig, num_classes: int, embedding_size: int) -> Objective:
    """Distance, miner, loss and memory of ``cfg``, for C training classes and embeddings of size D."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seeds.derive(cfg.seed, "loss parameters"))
        if cfg.loss.name == "sum":
            parts: list[Any] = [OmegaConf.merge(section("loss", part.name), part) for part in cfg.loss.losses]
            weights = [float(part.pop("weight", 1.0)) for part in parts]
            loss: Loss = SumLoss([_loss(part, num_classes, embedding_size) for part in parts], weights)
        else:
            loss = _loss(cfg.loss, num_classes, embedding_size)
    memory = CrossBatchMemory(cfg.memory.size, embedding_size, cfg.memory.warmup_steps) if cfg.memory.size else None
    return Objective(_part(cfg.distance), _part(cfg.miner), loss, memory)


def build_module(cfg: DictConfig, data: DataModule) -> MetricLearner:
    """The LightningModule of ``cfg`` for this data; initial values are a function of the seed."""
    pl.seed_everything(seeds.derive(cfg.seed, "run") % 2**32, verbose=False)
    monitor = cfg.scheduler.get("monitor") or cfg.evaluation.monitor
    embedder = build_embedder(cfg, data.input_shape)
    objective = build_objective(cfg, data.num_classes, embedder.size)
    if cfg.compile:
        embedder.compile()
        objective.compile()
    return MetricLearner(
        embedder,
        objective,
        partial(build_optimizer, plain(cfg.optimizer)),
        partial(_scheduler, plain(cfg.scheduler), monitor),
        seed=cfg.seed,
    )


def _scheduler(section: Any, monitor: str, optimizer: Any, steps: int, per_epoch: int) -> dict[str, Any] | None:
    return build_scheduler(section, optimizer, steps, per_epoch, monitor)


@dataclass
class Loggers:
    """Where a run's figures go: always its own history, and W&B where it can be used."""

    history: HistoryLogger
    wandb: GuardedWandb | None

    @property
    def all(self) -> list[Logger]:
        return [self.history, *([self.wandb] if self.wandb else [])]

    def finish(self, exit_code: int) -> None:
        self.history.close()
        if self.wandb:
            self.wandb.finish(exit_code)


def build_loggers(cfg: DictConfig, run: Run, global_step: int | None) -> Loggers:
    """History and W&B; ``global_step`` is that of the checkpoint a resumed run goes on from."""
    history = HistoryLogger(run.folder)
    logged = None if global_step is None else history.resume_from(global_step)
    return Loggers(history, build_wandb(plain(cfg), run.folder, run.record.get("wandb_id", ""), logged))


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
