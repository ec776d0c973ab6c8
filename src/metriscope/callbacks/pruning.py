"""The callback that reports every epoch of a search's trial, and stops trials that fall behind."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from metriscope.errors import Pruned
from metriscope.parts import instantiate
from metriscope.run.trials import open_storage


class Pruning(pl.Callback):
    """Reports the searched metric of every validation to Optuna; stops between two epochs, after the state is saved.

    Args:
        sweep: the section of a search: metric, pruner, storage and the number of this trial.
        study: the name of the search.
    """

    def __init__(self, sweep: Mapping[str, Any], study: str) -> None:
        import optuna

        logging.getLogger("optuna").setLevel(logging.WARNING)
        self.metric = str(sweep["metric"])
        pruner = instantiate(sweep["pruner"], "sweep.pruner")
        storage = open_storage(Path(sweep["storage"]))
        trials = optuna.load_study(study_name=study, storage=storage, pruner=pruner)
        (self.trial,) = [
            optuna.Trial(trials, trial._trial_id)
            for trial in trials.get_trials(deepcopy=False)
            if trial.number == sweep["trial"]
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
