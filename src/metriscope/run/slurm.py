"""A run as a job of SLURM: the tasks it was given, the notice of its end, the way back to the queue. No torch."""

import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from metriscope.errors import InputError, Interrupted, RunError
from metriscope.signals import NOTICES, notices

log = logging.getLogger(__name__)

# Lightning takes no notice of SLURM in jobs of these names, so that one can try things out within a job.
_INTERACTIVE = ("bash", "interactive")
# How long processes beside the first one wait for SLURM to end them with it.
_REQUEUE_SECONDS = 60


@contextmanager
def back_to_the_queue() -> Iterator[None]:
    """Requeues the job once a run that was told to has saved its state and closed everything.

    To be left by the KeyboardInterrupt whose cause is the run's :class:`Interrupted`. Under submitit its own
    handler requeues, which keeps count of time-outs; else ``scontrol`` does.

    Raises:
        RunError: SLURM does not take the job back.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, *notices())}
    if notices():
        _answer(_stop)
    told = None
    try:
        yield
    except KeyboardInterrupt as error:
        told = getattr(error.__cause__, "number", None)
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if told in notices() or (told == signal.SIGTERM and _preempted()):
            _requeue()


def _answer(handler: Any) -> None:
    for number in (signal.SIGTERM, *notices()):
        signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    """While nothing is trained there is nothing to save, and one signal is enough."""
    _answer(signal.SIG_IGN)
    raise Interrupted(number)


def _preempted() -> bool:
    """Whether SLURM is about to give this job's place to another one.

    Without a signal of its own to be sent, such a job gets a SIGTERM and some time. If it used that to end by
    itself, it would count as failed.
    """
    shown = _scontrol("show", "job", "--oneliner").stdout if "SLURM_JOB_ID" in os.environ else ""
    return "JobState=RUNNING" in shown and re.search(r"PreemptTime=\d", shown) is not None


def _requeue() -> None:
    if os.environ.get("SLURM_PROCID", "0") != "0":
        # Clusters may end all tasks of a job with the first that fails: the one that asks comes first.
        time.sleep(_REQUEUE_SECONDS)
        return
    log.info("back to the queue")
    submitit = [handler for number in NOTICES if callable(handler := signal.getsignal(number))]
    try:
        if submitit:
            submitit[0](signal.SIGUSR2, None)
        else:
            _scontrol("requeue").check_returncode()
    except (RuntimeError, subprocess.CalledProcessError) as error:
        if getattr(error, "returncode", 1) > 0:
            reason = " ".join(f"{error} {getattr(error, 'stderr', None) or ''}".split())
            raise RunError(f"no way back to the queue ({reason}); the same command resumes the run") from error
        # SLURM had begun to end the processes of this job, with them the one that asked for it.


def _scontrol(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["scontrol", *words, os.environ["SLURM_JOB_ID"]]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def check_tasks(trainer: Mapping[str, Any]) -> None:
    """Refuse a job whose tasks are not the processes that the section ``trainer`` of the config counts on.

    Lightning would wait for tasks that never come, or train the same run once for each of them.

    Raises:
        InputError: naming what to ask SLURM for.
    """
    if "SLURM_NTASKS" not in os.environ:
        return
    tasks = int(os.environ["SLURM_NTASKS"])
    by_srun = "SLURM_STEP_NUM_TASKS" in os.environ
    running = int(os.environ["SLURM_STEP_NUM_TASKS"]) if by_srun else 1
    devices, nodes = _count(trainer["devices"]), trainer.get("num_nodes") or 1
    name = os.environ.get("SLURM_JOB_NAME")
    if name in _INTERACTIVE:
        if running > 1:
            raise InputError(f"{running} tasks in a job named {name}, where each would train alone: --job-name=train")
        return
    if devices is None:
        return
    wanted = devices * nodes
    asked = f"trainer.devices={trainer['devices']}" + (f" on {nodes} nodes" if nodes > 1 else "")
    per_node = f"--ntasks-per-node={devices} (hydra.launcher.tasks_per_node={devices})"
    if running == wanted == tasks:
        if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
            raise InputError(f"{asked}, and SLURM was asked for --ntasks={tasks}: ask for {per_node} instead")
    elif not by_srun and tasks == wanted:
        raise InputError(f"{asked}, but this is the only process of a job with {tasks} tasks: put srun before python")
    else:
        raise InputError(f"{asked}, but SLURM started {running} of {tasks} tasks: ask for {per_node} and use srun")


def _count(devices: Any) -> int | None:
    """How many devices a node is to use; None where that is for Lightning to find out."""
    if isinstance(devices, int):
        return devices if devices >= 0 else None
    return None if isinstance(devices, str) else len(devices)
