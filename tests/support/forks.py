"""Work in forks of this process, which have imported everything: side by side, or as the ranks of one run."""

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterable

import pytest
import torch
from omegaconf import OmegaConf

from metriscope.run.identity import folder_of

DDP = ("trainer.devices=2", "trainer.strategy=ddp")


def in_forks(works: Iterable[Callable[[], object]], ready: Callable[[], bool] = lambda: True) -> None:
    """Runs each of ``works`` in a fork of its own.

    Those after the first begin once it has come as far as ``ready``. When one fails, the others are not left waiting
    for it.
    """
    children: list[int] = []
    for work in works:
        child = os.fork()
        if child == 0:
            torch.set_num_threads(1)  # the threads of the parent's pool did not come along in the fork
            code = 1
            try:
                while children and not ready():
                    time.sleep(0.01)
                work()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    while children:
        child, status = os.wait()
        children.remove(child)
        if status:
            for other in children:
                os.kill(other, signal.SIGKILL)
                os.waitpid(other, 0)
            pytest.fail("one of several processes failed: see its traceback")


def on_ranks(
    work: Callable[[], object], first: int = 0, ready: Callable[[], bool] = lambda: True, count: int = 2
) -> None:
    """Runs ``work()`` in two forks or more, as torchrun would have started them.

    Those after the first begin once it has come as far as ``ready``.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "GROUP_RANK": "0"}
    shared |= {"MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}

    def as_rank(rank: int) -> Callable[[], object]:
        def go() -> object:
            os.environ.update(shared, RANK=str(rank), LOCAL_RANK=str(rank))
            return work()

        return go

    in_forks([as_rank(first), *(as_rank(rank) for rank in range(count) if rank != first)], ready)


def started(cfg):
    """Whether the process that keeps the folder has begun: a launcher such as Lightning's waits for that."""
    record = folder_of(OmegaConf.to_container(cfg, resolve=True)) / "run.json"
    return lambda: record.exists()
