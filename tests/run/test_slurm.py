"""What a run does as a job of SLURM, where the environment says that there is one; tests/slurm has a real one."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
from omegaconf import OmegaConf
from tiny_runs import TINY

import metriscope.callbacks.graceful_stop
import metriscope.run.slurm
from metriscope.app import train
from metriscope.callbacks.graceful_stop import GracefulStop
from metriscope.errors import InputError, Interrupted, RunError
from metriscope.run.identity import folder_of
from metriscope.run.slurm import back_to_the_queue, check_tasks
from metriscope.signals import Stop, notices

JOB = "4711"
PREEMPTED = "JobState=RUNNING PreemptEligibleTime=2026-01-01T00:00:00 PreemptTime=2026-01-01T00:00:09"
NOT_PREEMPTED = "JobState=RUNNING PreemptEligibleTime=2026-01-01T00:00:00 PreemptTime=None"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("SLURM_", "SUBMITIT_")):
            monkeypatch.delenv(name)


@pytest.fixture
def job(monkeypatch, tmp_path):
    """Puts the test into a job; ``scontrol`` answers as told and writes down what it was asked for."""
    asked = tmp_path / "asked"

    def put(shows=NOT_PREEMPTED, exit_code=0):
        script = tmp_path / "bin" / "scontrol"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\necho "$@" >> {asked}\necho "{shows}"\necho refused >&2\nexit {exit_code}\n')
        script.chmod(0o755)
        monkeypatch.setenv("SLURM_JOB_ID", JOB)
        monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
        return lambda: asked.read_text().splitlines() if asked.exists() else []

    return put


def stopped_by(number):
    """As a run ends that a signal has stopped."""
    with back_to_the_queue():
        raise KeyboardInterrupt("stopped") from Interrupted(number)


def test_notices_are_a_matter_of_jobs(job, monkeypatch):
    assert notices() == ()
    monkeypatch.setenv("SUBMITIT_EXECUTOR", "local")
    assert notices() == (signal.SIGUSR1, signal.SIGUSR2)
    monkeypatch.delenv("SUBMITIT_EXECUTOR")
    job()
    assert notices() == (signal.SIGUSR1, signal.SIGUSR2)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_notice_ends_in_the_queue(job, number):
    asked = job()
    with pytest.raises(KeyboardInterrupt):
        stopped_by(number)
    assert asked() == [f"requeue {JOB}"]


@pytest.mark.parametrize(("shows", "wanted"), [(PREEMPTED, [f"requeue {JOB}"]), (NOT_PREEMPTED, [])])
def test_sigterm_ends_in_the_queue_where_the_job_is_preempted(job, shows, wanted):
    asked = job(shows)
    with pytest.raises(KeyboardInterrupt):
        stopped_by(signal.SIGTERM)
    assert asked() == [f"show job --oneliner {JOB}", *wanted]


def test_ctrl_c_and_other_ends_do_not(job):
    asked = job(PREEMPTED)
    with pytest.raises(KeyboardInterrupt):
        stopped_by(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), back_to_the_queue():
        raise KeyboardInterrupt
    with pytest.raises(RunError), back_to_the_queue():
        raise RunError("loss not finite")
    with back_to_the_queue():
        pass
    assert asked() == []


def test_outside_of_jobs_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(metriscope.run.slurm, "_scontrol", None)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        with pytest.raises(KeyboardInterrupt):
            stopped_by(number)


def test_submitit_requeues_where_it_listens(job):
    """Its handler keeps count of time-outs, and ends the process."""
    asked, heard = job(), []

    def handler(number, frame):
        heard.append(number)
        sys.exit(-1)

    before = signal.signal(signal.SIGUSR2, handler)
    try:
        with pytest.raises(SystemExit):
            stopped_by(signal.SIGUSR2)
        assert signal.getsignal(signal.SIGUSR2) is handler
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]
    assert asked() == []


def test_a_job_that_is_not_taken_back_is_one_line(job):
    job(exit_code=1)
    with pytest.raises(RunError, match=r"no way back to the queue \(.* refused\); the same command resumes") as caught:
        stopped_by(signal.SIGUSR1)
    assert "\n" not in str(caught.value)


def test_no_scontrol_is_one_line(job, monkeypatch):
    job()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(RunError, match="no way back to the queue"):
        stopped_by(signal.SIGUSR1)


def test_a_job_that_slurm_already_ends_is_on_its_way(job):
    """``scontrol`` belongs to the job whose processes SLURM ends when it is asked to requeue it."""
    job()

    def handler(number, frame):
        raise subprocess.CalledProcessError(-signal.SIGTERM, "scontrol")

    before = signal.signal(signal.SIGUSR2, handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            stopped_by(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_only_the_first_process_asks(job, monkeypatch):
    asked, waited = job(), []
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setattr(metriscope.run.slurm.time, "sleep", waited.append)
    with pytest.raises(KeyboardInterrupt):
        stopped_by(signal.SIGUSR2)
    assert (asked(), len(waited)) == ([], 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_before_training_stops_at_once_and_later_ones_change_nothing(job, number):
    job()
    before = signal.getsignal(number)

    def build():
        try:
            os.kill(os.getpid(), number)
        finally:
            for again in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
                os.kill(os.getpid(), again)

    with pytest.raises(KeyboardInterrupt, match=number.name), back_to_the_queue():
        build()
    assert signal.getsignal(number) == before


def test_in_a_job_every_signal_but_ctrl_c_may_come_twice(job, tmp_path):
    job()
    stop = Stop()
    with suppress(KeyboardInterrupt), back_to_the_queue(), stop.listening(), stop.waiting():
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGUSR2, signal.SIGUSR2, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert stop.received == signal.SIGUSR2, "the notice, whatever comes before and after"


def test_an_evaluation_is_given_up_when_the_time_is_up(job, tmp_path, monkeypatch):
    job()
    stop = Stop()
    callback = GracefulStop(stop, tmp_path / "last.ckpt", 1)
    with suppress(KeyboardInterrupt), back_to_the_queue(), stop.listening(), stop.waiting():
        os.kill(os.getpid(), signal.SIGTERM)
        callback.on_validation_batch_end()
        os.kill(os.getpid(), signal.SIGUSR2)
        callback.on_validation_batch_end()
        moment = metriscope.callbacks.graceful_stop.time.monotonic() + 60
        monkeypatch.setattr(metriscope.callbacks.graceful_stop, "time", SimpleNamespace(monotonic=lambda: moment))
        with pytest.raises(Interrupted, match="SIGUSR2"):
            callback.on_validation_batch_end()


def test_a_run_is_saved_before_its_job_is_requeued(job, tiny, monkeypatch):
    """And the same command, given by SLURM, ends as if nothing had happened."""
    wanted = train(tiny()).metrics
    asked, seen = job(), []
    cfg = tiny("resume=never")
    folder = folder_of(OmegaConf.to_container(cfg, resolve=True))
    requeue = metriscope.run.slurm._requeue

    class Notice(pl.Callback):
        def on_train_batch_end(self, trainer, *args):
            if trainer.global_step == 7:
                os.kill(os.getpid(), signal.SIGUSR2)

    def look_and_requeue():
        seen.append(json.loads((folder / "run.json").read_text()))
        requeue()

    monkeypatch.setattr("metriscope.build.callbacks.progress", lambda: [Notice()])
    monkeypatch.setattr(metriscope.run.slurm, "_requeue", look_and_requeue)
    with pytest.raises(KeyboardInterrupt, match="stopped by SIGUSR2"):
        train(cfg)
    assert asked() == [f"requeue {JOB}"]
    assert [(record["status"], record["reason"]) for record in seen] == [("interrupted", "stopped by SIGUSR2")]
    monkeypatch.setattr("metriscope.build.callbacks.progress", list)
    assert train(tiny("resume=must")).metrics == wanted


def tasks(monkeypatch, devices, nodes=None, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    trainer = {"devices": devices, **({"num_nodes": nodes} if nodes else {})}
    check_tasks(trainer)


@pytest.mark.parametrize(
    ("devices", "environment"),
    [
        (1, {}),
        (2, {}),
        (1, {"NTASKS": 1}),
        (1, {"NTASKS": 1, "STEP_NUM_TASKS": 1}),
        (2, {"NTASKS": 2, "STEP_NUM_TASKS": 2, "NTASKS_PER_NODE": 2}),
        ([0, 1], {"NTASKS": 2, "STEP_NUM_TASKS": 2, "NTASKS_PER_NODE": 2}),
        ("auto", {"NTASKS": 4, "STEP_NUM_TASKS": 4, "NTASKS_PER_NODE": 4}),
        (-1, {"NTASKS": 4, "STEP_NUM_TASKS": 4, "NTASKS_PER_NODE": 4}),
        (2, {"NTASKS": 1, "JOB_NAME": "interactive"}),
    ],
)
def test_tasks_that_fit(monkeypatch, devices, environment):
    tasks(monkeypatch, devices, **environment)


def test_tasks_on_two_nodes(monkeypatch):
    tasks(monkeypatch, 2, 2, NTASKS=4, STEP_NUM_TASKS=4, NTASKS_PER_NODE=2)


@pytest.mark.parametrize(
    ("devices", "environment", "remedy"),
    [
        (1, {"NTASKS": 2, "STEP_NUM_TASKS": 2, "NTASKS_PER_NODE": 2}, r"trainer\.devices=1, .* --ntasks-per-node=1"),
        (2, {"NTASKS": 1, "STEP_NUM_TASKS": 1}, r"hydra\.launcher\.tasks_per_node=2"),
        (2, {"NTASKS": 1}, "--ntasks-per-node=2 .* srun"),
        (2, {"NTASKS": 2, "NTASKS_PER_NODE": 2}, "put srun before python"),
        (2, {"NTASKS": 2, "STEP_NUM_TASKS": 2}, "--ntasks=2: ask for --ntasks-per-node=2"),
        (1, {"NTASKS": 2, "STEP_NUM_TASKS": 2, "JOB_NAME": "bash"}, "--job-name=train"),
    ],
)
def test_tasks_that_do_not_fit_are_one_line(monkeypatch, devices, environment, remedy):
    with pytest.raises(InputError, match=remedy) as caught:
        tasks(monkeypatch, devices, **environment)
    assert "\n" not in str(caught.value)


@pytest.mark.processes
def test_the_command_line_says_so_too(monkeypatch, tmp_path):
    words = [*TINY, f"paths.output_dir={tmp_path}"]
    monkeypatch.setenv("SLURM_NTASKS", "3")
    script = "import sys; from metriscope.cli import train as main; main()"
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("metriscope: trainer.devices=1, but SLURM started 1 of 3 tasks")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
