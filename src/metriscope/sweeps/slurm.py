"""Submitting the jobs of a sweep as a SLURM array with submitit. Imports no torch."""

import io
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus

from metriscope.errors import InputError, nearest

# Seconds between checks for result files, and between queries to SLURM for jobs without a result.
_LOOK_SECONDS, _ASK_SECONDS = 1, 15
# Settings of Hydra's launcher that submitit's executor takes under the same name; all others are SLURM options.
_PLAIN = {"timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name"}
_PLAIN |= {"stderr_to_stdout"}


def launch(launcher: Any, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Submit jobs as one array and wait until all have ended, whether or not they succeeded.

    Hydra's own launcher stops waiting for all jobs when SLURM cancels one of them.

    Args:
        launcher: Hydra's launcher, set up with its config and the function that it calls in a job.
        jobs: the overrides of each job.
        first: number of the first job.

    Returns:
        the result of each job; None for a job without a result, such as a cancelled one.

    Raises:
        InputError: SLURM is not available or refuses the jobs; the message quotes SLURM.
        KeyboardInterrupt: the sweep stops waiting; the jobs go on.
    """
    submitted = _submit(launcher, jobs, first)
    array = submitted[0].job_id.split("_")[0]
    folder = submitted[0].paths.folder.parent
    print(f"SLURM job {array}: {len(jobs)} runs; squeue -j {array} shows them, {folder} has their logs", flush=True)
    waiting, asked = list(submitted), time.monotonic()
    try:
        while waiting := [job for job in waiting if not job.done()]:
            time.sleep(_LOOK_SECONDS)
            if time.monotonic() - asked > _ASK_SECONDS:
                # submitit alone would query SLURM less and less often.
                submitted[0].watcher.update()
                asked = time.monotonic()
    except KeyboardInterrupt:
        print(f"metriscope: the jobs go on without this process; scancel {array} ends them", file=sys.stderr)
        raise
    return [_returned(job) for job in submitted]


def _submit(launcher: Any, jobs: Sequence[Sequence[str]], first: int) -> list[Any]:
    from submitit import AutoExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    params = dict(launcher.params)
    folder, timeouts = params.pop("submitit_folder"), params.pop("max_num_timeout")
    numbers = range(first, first + len(jobs))
    try:
        executor = AutoExecutor(folder, cluster="slurm", slurm_max_num_timeout=timeouts)
        executor.update_parameters(**{key if key in _PLAIN else f"slurm_{key}": params[key] for key in params})
        with redirect_stderr(io.StringIO()):  # submitit copies the output of sbatch to stderr
            submitted: list[Any] = executor.map_array(
                launcher,
                [list(words) for words in jobs],
                ["hydra.sweep.dir"] * len(jobs),
                numbers,
                [f"job_id_for_{number}" for number in numbers],
                [Singleton.get_state()] * len(jobs),
            )
        return submitted
    except (FailedJobError, FailedSubmissionError) as error:
        raise InputError(_refusal(str(error), params.get("partition"))) from error
    except (NameError, TypeError, ValueError) as error:
        raise InputError(f"hydra.launcher: {' '.join(str(error).split())[:200]}") from error
    except RuntimeError as error:
        raise InputError(f"hydra/launcher=slurm: {error} Start the sweep where sbatch works.") from error


def _refusal(said: str, partition: str | None) -> str:
    """One line with the error of sbatch."""
    reason = "; ".join(dict.fromkeys(re.findall(r"error: (.*)", said))) or " ".join(said.split())
    if partition and "partition" in reason.lower():
        there = _partitions()
        return (
            f"hydra.launcher.partition={partition}: SLURM has no such partition{nearest(partition, there)} "
            f"There are: {', '.join(there)}"
        )
    return f"SLURM does not take the jobs: {reason}; see hydra.launcher in configs/hydra/launcher/slurm.yaml"


def _partitions() -> list[str]:
    try:
        shown = subprocess.run(["sinfo", "--noheader", "--format=%R"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return list(dict.fromkeys(shown.stdout.split()))


def _returned(job: Any) -> JobReturn:
    from submitit.core.utils import UncompletedJobError

    job = job.task(0)
    if job.paths.result_pickle.exists():
        try:
            result: JobReturn = job.result()
            return result
        except UncompletedJobError as error:
            print(f"metriscope: SLURM job {job.job_id}: {str(error).splitlines()[-1]}", file=sys.stderr)
    else:
        print(f"metriscope: SLURM job {job.job_id} ended as {job.state.lower()}: {job.paths.stderr}", file=sys.stderr)
    return JobReturn(status=JobStatus.COMPLETED)
