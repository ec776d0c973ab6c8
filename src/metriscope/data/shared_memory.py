"""Shared memory, through which the workers of a dataloader hand over their batches."""

import shutil
from pathlib import Path

from metriscope.errors import InputError

SHARED_MEMORY = Path("/dev/shm")


def check_room(batches: int, batch_bytes: int, workers: int) -> None:
    """Refuse to start workers whose batches do not fit: they would wait for ever, or be killed.

    Args:
        batches: how many batches may be on their way at once.
        batch_bytes: of one batch.
        workers: for the message.

    Raises:
        InputError: saying what is needed, what is free, and which key helps.
    """
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:  # a system that shares memory in another way
        return
    needed = batches * batch_bytes
    if needed > free:
        raise InputError(
            f"{SHARED_MEMORY} has {free / 2**20:,.0f} MiB free, and batches of {workers} workers need "
            f"{needed / 2**20:,.0f} MiB: enlarge it (docker run --shm-size=2g), set dataset.num_workers=0, "
            "or keep decoded images with dataset.cache=auto"
        )
