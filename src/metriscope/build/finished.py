"""Builds the objects of a run that has finished, from its folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities.seed import isolate_rng

from metriscope import tensor_files
from metriscope.build.callbacks import build_evaluating_callbacks
from metriscope.build.run import Config, data_of, learner_of
from metriscope.build.trainer import build_trainer
from metriscope.data.splits import Splits
from metriscope.errors import InputError
from metriscope.outcome import Parts
from metriscope.run.folder import Run
from metriscope.training.checkpoints import upgrade


def parts_of(run: Run, splits: Splits | None = None) -> Parts:
    """The data, the module with the tested weights, and a trainer that evaluates it.

    These are the weights of the best checkpoint, or of the last where no validation has selected any. Without this
    checkpoint there is no module. The trainer writes neither checkpoints nor logs.

    Raises:
        InputError: the data cannot be loaded, or the checkpoint is damaged.
    """
    config = run.config
    data = data_of(config, splits)
    trainer = evaluator_of(config, run.folder)
    path = run.best_checkpoint if "best/epoch" in run.summary() else run.last_checkpoint
    if not path.exists():
        return Parts(trainer, None, data)
    with isolate_rng(include_cuda=False):
        module = learner_of(config, data)
    try:
        checkpoint = tensor_files.load(path)
        upgrade(checkpoint, module.state_dict())
        module.load_state_dict(checkpoint["state_dict"])
    except InputError:
        raise
    except Exception as error:
        known = isinstance(error, tensor_files.Damaged | tensor_files.Unsafe)
        why = f" (it {error})" if known else ""
        raise InputError(f"{path} is no checkpoint of this run{why}: move it away, or set resume=never") from error
    return Parts(trainer, module.eval(), data)


def evaluator_of(
    config: Config, folder: Path, loggers: Sequence[Logger] = (), callbacks: Sequence[pl.Callback] = ()
) -> pl.Trainer:
    """A trainer that evaluates, and writes no checkpoints.

    Args:
        config: of the run.
        folder: its folder.
        loggers: of the run.
        callbacks: further ones, which are called after those of the run.
    """
    evaluation = config["evaluation"]
    watch = build_evaluating_callbacks(
        evaluation, config["diagnostics"], config.get("callbacks") or {}, config["trainer"]["log_every_n_steps"]
    )
    # Lightning says something of a trainer that has no number of epochs.
    options: dict[str, Any] = {"max_epochs": 1, **config["trainer"], "enable_checkpointing": False}
    return build_trainer(options, [*watch, *callbacks], loggers, folder, evaluation.get("every_n_epochs", 1))
