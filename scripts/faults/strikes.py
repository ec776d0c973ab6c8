"""Faults: what happens to a run at a point, and to its files before the command is given again."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import torch

KILL, TERM, FULL, VANISH, FLIP_LAST, FLIP_BEST = "SIGKILL", "SIGTERM", "ENOSPC", "vanished", "flip-last", "flip-best"


def strike_of(fault: str, outputs: Path) -> Callable[[], None]:
    """What the fault does in the process of the run, whose folder is the one below ``outputs``."""

    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def vanish() -> None:
        shutil.rmtree(folder_below(outputs))

    def send(number: int) -> Callable[[], None]:
        return lambda: os.kill(os.getpid(), number)

    strikes = {FULL: full, VANISH: vanish, TERM: send(signal.SIGTERM)}
    return strikes.get(fault, send(signal.SIGKILL))


def folder_below(outputs: Path) -> Path:
    """The one run folder below ``outputs``."""
    (folder,) = (path for path in outputs.glob("*/*/*/seed*") if path.is_dir())
    return folder


def flip(path: Path) -> None:
    """Change the last bit of a weight in the middle of a checkpoint: a value like any other, and a wrong one."""
    weights = torch.load(path, weights_only=True)["state_dict"]
    largest = max(weights.values(), key=lambda tensor: tensor.numel() * tensor.is_floating_point())
    content, known = bytearray(path.read_bytes()), largest.contiguous().numpy().tobytes()
    start = content.find(known)
    if start < 0:
        raise ValueError(f"{path} does not hold its weights as plain bytes: flip a bit in another way")
    content[start + len(known) // 8 * 4] ^= 1
    path.write_bytes(content)
