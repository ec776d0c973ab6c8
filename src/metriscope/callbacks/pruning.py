"""A trial of a search reports every epoch, and ends when nothing better is to be expected of it."""

import logging
from pathlib import Path

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig

from metriscope.errors import Pruned
from metriscope.run.trials import open_storage


class Pruning(pl.Callback):
    """Hands the searched metric of every validation to Optuna; stops between two epochs, with the state saved.

    Args:
        cfg: a config with ``sweep``.
    """

    def __init__(self, cfg: DictConfig) -> None:
        import optuna

        logging.getLogger("optuna").setLevel(logging.WARNING)
        self.metric = str(cfg.sweep.metric)
        pruner = instantiate(cfg.sweep.pruner)
        study = optuna.load_study(
            study_name=str(cfg.study), storage=open_storage(Path(cfg.sweep.storage)), pruner=pruner
        )
        (self.trial,) = [
            optuna.Trial(study, trial._trial_id)
            for trial in study.get_trials(deepcopy=False)
            if trial.number == cfg.sweep.trial
        ]
        self.pruned = False

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = trainer.callback_metrics.get(self.metric)
        if value is None:
            return
        if trainer.is_global_zero:
            self.trial.report(float(value), trainer.current_epoch)
            self.pruned = self.trial.should_prune()
        self.pruned = trainer.strategy.broadcast(self.pruned)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self.pruned:
            raise Pruned(f"pruned after epoch {trainer.current_epoch}: {self.metric} is behind the other trials")
