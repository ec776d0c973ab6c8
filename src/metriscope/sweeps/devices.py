"""Assignment of devices to the jobs of a sweep that run side by side on one machine."""

import os
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig


def share(number: int, wanted: int, visible: Sequence[str]) -> list[str]:
    """The devices of one job: jobs get the visible devices in turn, ``wanted`` each.

    Args:
        number: number of the job, from 0.
        wanted: devices per job.
        visible: names of all devices, as in ``CUDA_VISIBLE_DEVICES``.

    Returns:
        ``wanted`` devices, or all of them if there are fewer; an empty list if there are none.
    """
    if wanted >= len(visible):
        return list(visible)
    slots = len(visible) // wanted
    first = number % slots * wanted
    return list(visible[first : first + wanted])


def take_share(number: int, cfg: DictConfig) -> None:
    """Hide from this process all GPUs but those of job ``number``.

    CUDA reads the variable once, when it starts, so later jobs of a process get the devices of its first job.
    """
    wanted: Any = cfg.trainer.devices
    if cfg.trainer.accelerator not in ("auto", "gpu", "cuda") or not isinstance(wanted, int) or wanted < 1:
        return
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    visible = [str(n) for n in range(torch.cuda.device_count())] if given is None else given.split(",")
    chosen = share(number, wanted, [name for name in visible if name])
    if chosen:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
