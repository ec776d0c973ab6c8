"""Signals that a cluster sends to a job before its time is up, and how dataloader workers handle them."""

import os
import signal
import threading

# `--signal` and submitit send these when the time of a job is up, or another job takes its place.
NOTICES = (signal.SIGUSR1, signal.SIGUSR2)


def notices() -> tuple[signal.Signals, ...]:
    """The signals that tell a job to save its state and return to the queue; empty outside of jobs."""
    return NOTICES if {"SLURM_JOB_ID", "SUBMITIT_EXECUTOR"} & os.environ.keys() else ()


def spare_worker(worker: int) -> None:
    """Makes a dataloader worker ignore signals; the main process handles them.

    SLURM signals every process of a job, and a run cannot finish its step without its workers. A SIGTERM from the run
    itself still ends the worker.
    """
    run = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, *NOTICES))

    def obey() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != run:
            pass
        os._exit(0)

    threading.Thread(target=obey, daemon=True).start()
