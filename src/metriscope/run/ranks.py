"""Which process of a run this is. Imports no torch."""

import os
import sys
from collections.abc import Mapping
from typing import Any

# Variables by which launchers (torchrun, Lightning, srun) number processes, with those that say how many there are.
_WORLDS = {
    "RANK": ("WORLD_SIZE",),
    "LOCAL_RANK": ("WORLD_SIZE",),
    "SLURM_PROCID": ("SLURM_NTASKS", "SLURM_STEP_NUM_TASKS"),
}


def is_main_process(trainer: Mapping[str, Any]) -> bool:
    """False in the processes that a launcher started beside the first one of a distributed run.

    Args:
        trainer: section of the config, which knows how many devices there are where no launcher says so.
    """
    return all(os.environ.get(name, "0") == "0" for name in _WORLDS if _is_shared(name, trainer))


def forget_stale_ranks(trainer: Mapping[str, Any]) -> None:
    """Removes ranks from the environment where this process trains alone: by them, Lightning would save nothing."""
    for name in _WORLDS:
        if os.environ.get(name, "0") == "0" or _is_shared(name, trainer):
            continue
        del os.environ[name]
        # Lightning looks when it is imported, which a notebook may have done before.
        if known := sys.modules.get("lightning_fabric.utilities.rank_zero"):
            known.rank_zero_only.rank = 0


def _is_shared(name: str, trainer: Mapping[str, Any]) -> bool:
    """Whether a rank is one of several."""
    sizes = [os.environ.get(size, "") for size in _WORLDS[name]]
    by_hand = name == "LOCAL_RANK" and _processes(trainer) > 1
    return by_hand or any(size.isdecimal() and int(size) > 1 for size in sizes)


def _processes(trainer: Mapping[str, Any]) -> int:
    devices = trainer.get("devices")
    count = devices if isinstance(devices, int) else len(devices) if isinstance(devices, list | tuple) else 1
    return count * (trainer.get("num_nodes") or 1)
