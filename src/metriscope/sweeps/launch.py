"""Running a list of jobs with one of Hydra's launchers. Imports no torch."""

import importlib.util
import multiprocessing
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from omegaconf import DictConfig

from metriscope import environment
from metriscope.config.hydra import launcher
from metriscope.config.search_path import of_search_path
from metriscope.config.words import first_lines, forced
from metriscope.errors import InputError, RunError
from metriscope.run.record import INTERRUPTED, RUNNING, read_record
from metriscope.signals import answered_by, raise_interrupt
from metriscope.sweeps import slurm
from metriscope.sweeps.jobs import Refusal, Task
from metriscope.sweeps.plan import Job, Words
from metriscope.sweeps.states import State, state_of

# Part of a launcher's _target_ -> the package that provides it.
_PACKAGES = {
    "hydra_joblib_launcher": "hydra-joblib-launcher",
    "hydra_submitit_launcher": "hydra-submitit-launcher",
    "hydra_ray_launcher": "hydra-ray-launcher",
}
# How often a run may be active when a process of the sweep dies; such a run may or may not be the cause.
_LIVES = 2


def check_launcher(base: DictConfig) -> None:
    """Refuse a launcher whose package is not installed, with the line that installs it.

    Raises:
        InputError: with that line.
    """
    target = str(base.hydra.launcher._target_)
    for module, package in _PACKAGES.items():
        if module in target and not _installed(f"hydra_plugins.{module}"):
            choice = base.hydra.runtime.choices["hydra/launcher"]
            raise InputError(f"hydra/launcher={choice} needs a package: pip install {package}")


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


class Launcher:
    """Runs jobs by the launcher that the command line chose.

    Args:
        base: config composed from the first value of each override, with Hydra's own settings.

    Attributes:
        stopped: whether a signal has stopped the launcher; then no further job starts.
        parallel: number of jobs that run side by side; 1 if the launcher does not set it.
    """

    def __init__(self, base: DictConfig) -> None:
        check_launcher(base)
        target = str(base.hydra.launcher._target_)
        self._pool = "hydra_joblib_launcher" in target
        self._launch_jobs = slurm.launch if target.endswith(".SlurmLauncher") else _launch
        mine = f"{socket.gethostname()}-{os.getpid()}"
        self._mark, self._offline = (Path(base.hydra.sweep.dir) / f"{name}-{mine}" for name in ("stop", "offline"))
        self._unsent = False
        search_path = tuple(of_search_path(list(base.hydra.overrides.hydra)))
        task = Task(self._mark, self._offline, os.getpid(), self._pool, search_path)
        self._launcher = launcher(base, task)
        self._number = 0
        self.stopped = False
        if self._pool:
            environment.share_cores()
        wanted = int(base.hydra.launcher.get("n_jobs") or base.hydra.launcher.get("array_parallelism") or 1)
        self.parallel = wanted if wanted > 0 else max(1, (os.cpu_count() or 1) + 1 + wanted)

    def launch(self, jobs: Sequence[Job]) -> dict[Path, Refusal]:
        """Run jobs and wait for them; returns refusals by run folder, since the folders record all other endings.

        After a signal it returns early and sets ``stopped``.

        Raises:
            RunError: the launcher itself failed.
        """
        lives = Counter({job.folder: _LIVES for job in jobs})
        todo = list(jobs)
        while todo:
            before = [state_of(job.folder) for job in todo]
            with self._listening(todo):
                try:
                    return self._launch(todo)
                except KeyboardInterrupt:
                    self.stopped = True
                    return {}
                except InputError:
                    raise
                except Exception as error:
                    if not self._pool:
                        raise RunError(f"the launcher gave up: {first_lines(error)}") from error
                    todo = _left(todo, before, lives)
                    if not todo:
                        raise RunError(f"a process of the sweep died: {first_lines(error)}") from error
            if self.stopped:
                break
            print(f"metriscope: a process died; {len(todo)} runs go on in new ones", file=sys.stderr)
        return {}

    def _launch(self, jobs: Sequence[Job]) -> dict[Path, Refusal]:
        first, self._number = self._number, self._number + len(jobs)
        returns = self._launch_jobs(self._launcher, [tuple(forced(job.words)) for job in jobs], first)
        values = [getattr(result, "_return_value", None) for result in returns]
        return {job.folder: v for job, v in zip(jobs, values, strict=True) if isinstance(v, Refusal)}

    @contextmanager
    def _listening(self, jobs: Sequence[Job]) -> Iterator[None]:
        """On the first signal that asks to stop, active runs save and stop; a second one ends all immediately."""

        def receive(number: int, frame: FrameType | None) -> None:
            again, self.stopped = self.stopped, True
            self._mark.touch()
            if again or not self._pool:
                raise_interrupt(number, frame)
            print("metriscope: the runs at work save and stop; once more ends them at once", file=sys.stderr)
            _tell_to_stop(jobs)

        if self._unsent:
            self._offline.touch()
        try:
            with answered_by(receive):
                yield
        finally:
            self._unsent = self._offline.exists()
            for mark in (self._mark, self._offline):
                mark.unlink(missing_ok=True)


def _launch(launcher: Any, jobs: Sequence[Words], first: int) -> Sequence[Any]:
    returns: Sequence[Any] = launcher.launch([list(words) for words in jobs], initial_job_idx=first)
    return returns


def _left(jobs: Sequence[Job], before: Sequence[State], lives: "Counter[Path]") -> list[Job]:
    """Jobs left to run after a dead process has broken the pool; none if no run had begun."""
    left, killed = [], 0
    for job, state in zip(jobs, before, strict=True):
        now = state_of(job.folder)
        if now == state:
            left.append(job)
        elif now.status == INTERRUPTED and now.ended is None:
            killed += 1
            lives[job.folder] -= 1
            if lives[job.folder] > 0:
                left.append(job)
    return left if killed else []


def _tell_to_stop(jobs: Sequence[Job]) -> None:
    """Send SIGTERM to the processes of the pool that have begun a run; the others have no state to save."""
    pool = {process.pid for process in multiprocessing.active_children()}
    for job in jobs:
        with suppress(InputError, OSError):
            record = read_record(job.folder)
            if record is None or record.pid is None or record.pid not in pool:
                continue
            if record.status == RUNNING and record.host == socket.gethostname():
                os.kill(record.pid, signal.SIGTERM)
