"""Rules of the keys that go to Lightning's Trainer. Imports no torch."""

import os
from collections.abc import Mapping
from typing import Any

from metriscope.annotations import said
from metriscope.errors import InputError

# Keys of the Trainer that a run sets itself, with what does the same.
_OF_THE_RUN = {
    "callbacks": "add one by its name, +callbacks.<name>._target_=...",
    "logger": "choose with logger=..., add further ones with logger.more",
    "plugins": "there is no way to give further ones",
    "default_root_dir": "set paths.output_dir",
    "check_val_every_n_epoch": "set evaluation.every_n_epochs",
    "num_sanity_val_steps": "nothing is evaluated before training",
    "enable_checkpointing": "a run always writes checkpoints",
    "enable_model_summary": "there is no summary of the layers",
    "enable_progress_bar": "a terminal has one",
    "inference_mode": "evaluation runs without gradients",
    "use_distributed_sampler": "choose with sampler=...",
    "barebones": "it would log nothing; logger=none writes the fewest files",
    "overfit_batches": "set trainer.limit_train_batches to train on the first batches of every epoch",
}


def check_trainer(trainer: Mapping[str, Any]) -> None:
    """Refuse what the Trainer does not get from a config, and a run that could not train a step.

    Raises:
        InputError: naming the key, its value, and what would do.
    """
    for key, instead in _OF_THE_RUN.items():
        if key in trainer:
            raise InputError(f"trainer.{key}={said(trainer[key])}: a run sets it itself; {instead}")
    for key in ("limit_train_batches", "max_steps"):
        if trainer.get(key) == 0 and not isinstance(trainer[key], bool):
            raise InputError(f"trainer.{key}=0: nothing would be trained; leave it out, or give at least one batch")
    interval = trainer.get("val_check_interval")
    if interval is not None and (isinstance(interval, bool | str) or interval <= 0):
        raise InputError(
            f"trainer.val_check_interval={said(interval)}: it has to be a share of an epoch, or a number of batches, "
            "above 0"
        )
    chunk = trainer.get("embed_chunk")
    counts = isinstance(chunk, int) and not isinstance(chunk, bool) and chunk >= 1
    if chunk is not None and chunk != "auto" and not counts:
        raise InputError(f"trainer.embed_chunk={said(chunk)}: it has to be a whole number of at least 1, auto, or null")
    precision = str(trainer.get("precision"))
    if trainer.get("ema_decay") is not None and precision in ("16-true", "bf16-true"):
        raise InputError(
            f"trainer.ema_decay={said(trainer['ema_decay'])}: weights of 16 bits are too coarse for the average to "
            f"move (trainer.precision={precision}); set trainer.precision={precision.removesuffix('-true')}-mixed"
        )
    nodes = trainer.get("num_nodes") or 1
    if nodes != 1 and not any(name in os.environ for name in ("MASTER_ADDR", "SLURM_NTASKS")):
        raise InputError(
            f"trainer.num_nodes={said(nodes)}: nothing started this process on several machines; use srun or torchrun"
        )


def evaluates_average(evaluation: Mapping[str, Any]) -> bool:
    """Whether a section ``evaluation`` asks for the moving average of the weights in the place of the weights."""
    return evaluation.get("weights") == "ema"


def check_average(config: Mapping[str, Any]) -> None:
    """Refuse an evaluation of an average that no training keeps.

    Raises:
        InputError: naming the key that is missing.
    """
    if evaluates_average(config["evaluation"]) and config["trainer"].get("ema_decay") is None:
        raise InputError(
            "evaluation.weights=ema: there is no moving average of the weights without trainer.ema_decay; train with "
            "one, such as trainer.ema_decay=0.99, or set evaluation.weights=model"
        )
