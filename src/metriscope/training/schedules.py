"""Learning-rate schedules: functions of an optimiser that return a schedule of torch, or None for a constant rate.

A schedule that asks for ``total_steps`` or ``steps_per_epoch``, the optimiser steps of the whole run (infinite where a
run has no planned end) and of one epoch, goes on after every step; any other one goes on after every epoch. One that
asks for ``mode``, ``max`` or ``min``, and has the key ``monitor`` in its config gets the value of that metric.
"""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, StepLR

from metriscope.config.sections import SECTIONS
from metriscope.errors import InputError
from metriscope.evaluation.monitors import monitor_of
from metriscope.parts import arguments_of, instantiate, locate

Epochs = Annotated[float, Field(ge=0)]
Steps = Annotated[float, Field(allow_inf_nan=True)]


def build_scheduler(
    section: Mapping[str, Any], optimizer: Optimizer, total_steps: float, steps_per_epoch: float, monitor: str
) -> dict[str, Any] | None:
    """Lightning's description of a learning-rate schedule; None where the rate never changes.

    Args:
        section: ``_target_`` and the schedule's own keys.
        optimizer: its groups keep the ratio of their learning rates.
        total_steps: optimiser steps of the whole run; infinite where a run has no planned end.
        steps_per_epoch: optimiser steps of one epoch.
        monitor: the metric that a schedule with the key ``monitor`` goes by unless it names one.

    Raises:
        InputError: a value out of range, or a schedule that needs an end in an endless run.
    """
    watched = monitor_of(section, "scheduler", {"monitor": monitor}) if "monitor" in section else None
    known = {"optimizer": optimizer, "total_steps": total_steps, "steps_per_epoch": steps_per_epoch}
    if watched is not None:
        known["mode"] = watched.mode
    known = SECTIONS["scheduler"].taken(section, known)
    schedule = instantiate(SECTIONS["scheduler"].arguments(section), "scheduler", **known)
    if schedule is None:
        return None
    target = str(section["_target_"])
    if not hasattr(schedule, "step"):
        raise InputError(f"scheduler._target_={target}: it has to return a learning-rate schedule of torch, or None")
    if isinstance(schedule, ReduceLROnPlateau) and watched is None:
        raise InputError(
            f"scheduler._target_={target} goes by a metric: add the key scheduler.monitor, null or a metric"
        )
    by_step = arguments_of(locate(target)).keys() & {"total_steps", "steps_per_epoch"}
    entry = {"scheduler": schedule, "interval": "step" if by_step else "epoch", "frequency": 1, "name": "lr"}
    return entry if watched is None else {**entry, "monitor": watched.metric}


def knows_the_length(section: Mapping[str, Any]) -> bool:
    """Whether the rates of a schedule depend on the length of the run."""
    build = locate(str(section["_target_"]))
    # A constant rate only looks whether its warm-up ends within the run.
    return build is not constant and "total_steps" in arguments_of(build)


def constant(
    optimizer: Optimizer, total_steps: Steps, steps_per_epoch: Steps, warmup_epochs: Epochs = 0
) -> LambdaLR | None:
    """The rate as it is, after a linear warm-up."""
    warmup = _steps(warmup_epochs, total_steps, steps_per_epoch)
    return LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / warmup)) if warmup else None


def cosine(
    optimizer: Optimizer,
    total_steps: Steps,
    steps_per_epoch: Steps,
    warmup_epochs: Epochs = 0,
    min_lr: Annotated[float, Field(ge=0, le=1)] = 0.0,
) -> LambdaLR:
    """A linear warm-up, then half a cosine down to the share ``min_lr`` of the rate, at the end of the run.

    Raises:
        InputError: the run has no planned end, or ends within the warm-up.
    """
    warmup = _steps(warmup_epochs, total_steps, steps_per_epoch)
    if math.isinf(total_steps):
        raise InputError("scheduler=cosine needs to know where the run ends: set trainer.max_epochs")
    return LambdaLR(optimizer, cosine_factor(warmup, int(total_steps), min_lr))


def step(
    optimizer: Optimizer,
    step_size: Annotated[int, Field(ge=1)] = 30,
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1,
) -> StepLR:
    """The rate times ``gamma`` after every ``step_size`` epochs."""
    return StepLR(optimizer, step_size=step_size, gamma=gamma)


def plateau(
    optimizer: Optimizer,
    mode: Literal["max", "min"],
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    patience: Annotated[int, Field(ge=0)] = 5,
) -> ReduceLROnPlateau:
    """The rate times ``factor`` once the metric has been no better for more than ``patience`` epochs."""
    return ReduceLROnPlateau(optimizer, mode=mode, factor=factor, patience=patience)


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


def _steps(epochs: float, total_steps: float, steps_per_epoch: float) -> int:
    steps = round(float(epochs) * steps_per_epoch)
    if steps and steps >= total_steps:
        raise InputError(
            f"scheduler.warmup_epochs={epochs} is {steps} steps of a run of {total_steps:g}: warm up for less"
        )
    return steps
