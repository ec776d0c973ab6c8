"""Signals that a job of a cluster gets before its time is up, and what processes beside the run do with them."""

import os
import signal
import threading

# What `--signal` and submitit send when the time of a job is up, or another job takes its place.
NOTICES = (signal.SIGUSR1, signal.SIGUSR2)


def notices() -> tuple[signal.Signals, ...]:
    """The signals that tell a job to save what it has and to go back to the queue; none outside of jobs."""
    return NOTICES if {"SLURM_JOB_ID", "SUBMITIT_EXECUTOR"} & os.environ.keys() else ()


def handlers_can_be_set() -> bool:
    """Whether this is the main thread: Python sets signal handlers, and calls them, in no other."""
    return threading.current_thread() is threading.main_thread()


def spare_worker(worker: int) -> None:
    """For the processes of a dataloader: leave it to the run what becomes of a signal.

    SLURM signals every process of a job, and a run whose workers are gone cannot end the step it is in. A
    SIGTERM from the run itself still counts.
    """
    run = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, *NOTICES))

    def obey() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != run:
            pass
        os._exit(0)

    threading.Thread(target=obey, daemon=True).start()
