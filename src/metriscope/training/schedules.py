"""Learning-rate schedules."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, StepLR

from metriscope.errors import InputError
from metriscope.evaluation.monitors import monitor_of

SCHEDULERS = ("constant", "cosine", "step", "plateau")


def build_scheduler(
    cfg: Mapping[str, Any], optimizer: Optimizer, total_steps: float, steps_per_epoch: float, monitor: str
) -> dict[str, Any] | None:
    """Lightning's description of a learning-rate schedule; None where the rate never changes.

    Args:
        cfg: ``name`` and the schedule's own keys.
        optimizer: its groups keep the ratio of their learning rates.
        total_steps: optimiser steps of the whole run; infinite where a run has no planned end.
        steps_per_epoch: optimiser steps of one epoch.
        monitor: the metric that ``plateau`` watches unless ``cfg.monitor`` names one.

    Raises:
        InputError: unknown schedule, a value out of range, or a schedule that needs an end in an endless run.
    """
    name = cfg["name"]
    if name == "constant":
        warmup = _steps(cfg, total_steps, steps_per_epoch)
        if not warmup:
            return None
        return _entry(LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup)), "step")
    if name == "cosine":
        warmup = _steps(cfg, total_steps, steps_per_epoch)
        if math.isinf(total_steps):
            raise InputError("scheduler=cosine needs to know where the run ends: set trainer.max_epochs")
        floor = cfg["min_lr"]
        _require(0 <= floor <= 1, "scheduler.min_lr", floor, "a share of the learning rate, from 0 to 1")
        return _entry(LambdaLR(optimizer, cosine_factor(warmup, int(total_steps), floor)), "step")
    if name == "step":
        size, gamma = cfg["step_size"], cfg["gamma"]
        _require(size >= 1, "scheduler.step_size", size, "at least one epoch")
        _require(0 < gamma <= 1, "scheduler.gamma", gamma, "above 0 and at most 1")
        return _entry(StepLR(optimizer, step_size=size, gamma=gamma), "epoch")
    if name == "plateau":
        factor, patience = cfg["factor"], cfg["patience"]
        _require(0 < factor < 1, "scheduler.factor", factor, "between 0 and 1")
        _require(patience >= 0, "scheduler.patience", patience, "0 epochs or more")
        watched = monitor_of(cfg, "scheduler", {"monitor": monitor})
        plateau = ReduceLROnPlateau(optimizer, mode=watched.mode, factor=factor, patience=patience)
        return {**_entry(plateau, "epoch"), "monitor": watched.metric}
    raise InputError(f"scheduler.name: unknown schedule {name!r}; there are {', '.join(SCHEDULERS)}")


def cosine_factor(warmup: int, total: int, floor: float) -> Callable[[int], float]:
    """Factor on the learning rate per step: linear up over ``warmup`` steps, then half a cosine down to
    ``floor`` at step ``total`` (arXiv:1608.03983, without restarts).

    ``floor`` is a share of each group's own rate, whereas torch's ``CosineAnnealingLR`` has one absolute floor.
    """

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        progress = min(1.0, (step - warmup) / max(1, total - warmup))
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))

    return factor


def _steps(cfg: Mapping[str, Any], total_steps: float, steps_per_epoch: float) -> int:
    epochs = cfg["warmup_epochs"]
    _require(epochs >= 0, "scheduler.warmup_epochs", epochs, "0 epochs or more")
    steps = round(float(epochs) * steps_per_epoch)
    if steps and steps >= total_steps:
        raise InputError(
            f"scheduler.warmup_epochs={epochs} is {steps} steps of a run of {total_steps:g}: warm up for less"
        )
    return steps


def _entry(scheduler: Any, interval: str) -> dict[str, Any]:
    return {"scheduler": scheduler, "interval": interval, "frequency": 1, "name": "lr"}


def _require(holds: bool, key: str, value: Any, rule: str) -> None:
    if not holds:
        raise InputError(f"{key} must be {rule}, got {value}")
