"""A run as a SLURM job: checking its tasks, and requeueing it after a stop signal. Imports no torch."""

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
from metriscope.signals import NOTICES, answered_by, notices

log = logging.getLogger(__name__)

# Lightning ignores SLURM in jobs with these names, so that a user can run commands by hand in a job.
_INTERACTIVE = ("bash", "interactive")
# Seconds that tasks other than the first wait for SLURM to end them.
_REQUEUE_SECONDS = 60


@contextmanager
def back_to_the_queue() -> Iterator[None]:
    """Requeues the job after a signal has stopped the run, once the run has saved its state and closed its files.

    The body must raise an :class:`Interrupted`, or a KeyboardInterrupt whose cause is one. Under submitit the job
    is requeued by submitit's own handler, which counts time-outs; otherwise by ``scontrol``.

    Raises:
        RunError: SLURM refuses to requeue the job.
    """
    told = None
    try:
        # For the time before a run listens, when there is no state to save.
        with answered_by(_stop, (signal.SIGTERM, *notices()) if notices() else ()):
            yield
    except Interrupted as error:
        told = error.number
        raise KeyboardInterrupt(str(error)) from error
    except KeyboardInterrupt as error:
        told = getattr(error.__cause__, "number", None)
        raise
    finally:
        if told in notices() or (told == signal.SIGTERM and _preempted()):
            _requeue()


def _stop(number: int, frame: FrameType | None) -> None:
    """Stop at the first signal and ignore later ones."""
    for later in (signal.SIGTERM, *notices()):
        signal.signal(later, signal.SIG_IGN)
    raise Interrupted(number)


def _preempted() -> bool:
    """Whether SLURM is about to preempt this job.

    A job that asked for no signal of its own gets a SIGTERM and a grace period. If it ended by itself in that
    period, SLURM would count it as failed.
    """
    shown = _scontrol("show", "job", "--oneliner").stdout if "SLURM_JOB_ID" in os.environ else ""
    return "JobState=RUNNING" in shown and re.search(r"PreemptTime=\d", shown) is not None


def _requeue() -> None:
    if os.environ.get("SLURM_PROCID", "0") != "0":
        # A cluster may end all tasks of a job once one of them fails; the first task must requeue the job before that.
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
        # A negative code: SLURM accepted the request and had begun to end the processes of this job, scontrol too.


def _scontrol(*words: str) -> subprocess.CompletedProcess[str]:
    command = ["scontrol", *words, os.environ["SLURM_JOB_ID"]]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))


def check_tasks(trainer: Mapping[str, Any]) -> None:
    """Refuse a job whose tasks do not match the devices and nodes in the section ``trainer`` of the config.

    Lightning would wait for missing tasks forever, or train the same run once in every task.

    Raises:
        InputError: the tasks do not match; the message names the right SLURM options.
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
    """Number of devices per node; None if Lightning is to choose it."""
    if isinstance(devices, int):
        return devices if devices >= 0 else None
    return None if isinstance(devices, str) else len(devices)
