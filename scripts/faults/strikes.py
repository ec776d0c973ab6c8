"""Faults: what happens to a run at a point, and to its files before the command is given again."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import torch

KILL, TERM, FULL, VANISH = "SIGKILL", "SIGTERM", "ENOSPC", "vanished"
FLIP_LAST, FLIP_BEST, TEAR = "flip-last", "flip-best", "torn-row"
"""Killed, and afterwards a bit of a checkpoint is flipped, or the last row of the history cut off within."""


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
    """Change one bit of a weight of the network: a value like any other, and a wrong one."""
    weights = torch.load(path, weights_only=True)["state_dict"]
    network = [tensor for key, tensor in weights.items() if key.startswith("embedder.") and tensor.is_floating_point()]
    known = max(network, key=torch.Tensor.numel).contiguous().numpy().tobytes()
    content = bytearray(path.read_bytes())
    start = content.find(known)
    if start < 0:
        raise ValueError(f"{path} does not hold its weights as plain bytes: flip a bit in another way")
    content[start + 2] ^= 64  # the first bit of a fraction: up to a half more or less
    path.write_bytes(content)


def tear(path: Path) -> None:
    """Cut off a history within its last row."""
    path.write_bytes(path.read_bytes()[:-9])
