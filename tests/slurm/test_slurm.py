"""Runs on a real SLURM: whatever becomes of their jobs, they end as if nothing had happened, or say how they ended."""

import json
import shlex
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch
from playground import HOLD, ROOT, SCRIPTS, Runs, Slurm, Sweep, until
from tiny_runs import TINY
from wandb_files import records_of, values

from metriscope.app import train
from metriscope.cli import run
from metriscope.config.compose import compose_config
from metriscope.run.ledger import read as read_ledger
from metriscope.sweeps.states import states_of
from metriscope.tracking.wandb import STEP

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]


@pytest.fixture(scope="session")
def slurm(request):
    place = Path(tempfile.mkdtemp(prefix="metriscope-slurm-"))
    cluster = Slurm(place)
    try:
        started = subprocess.run([SCRIPTS / "up"], env=cluster.env, capture_output=True, text=True, timeout=90)
        assert started.returncode == 0, started.stderr
        yield cluster
    finally:
        # What the daemons wrote is kept when something went wrong.
        words = [] if request.session.testsfailed else ["--purge"]
        subprocess.run([SCRIPTS / "down", *words], env=cluster.env, timeout=60, check=False)
        if not words:
            print(f"\nlogs of slurmctld and slurmd: {place}", file=sys.__stderr__)


@pytest.fixture(scope="session")
def send(slurm, tmp_path_factory):
    """Starts a sweep in a folder of its own."""
    sweeps = []

    def go(*words):
        sweeps.append(Sweep(slurm, tmp_path_factory.mktemp("sweep"), words))
        return sweeps[-1]

    yield go
    for sweep in sweeps:
        if sweep.process.poll() is None:
            sweep.process.kill()
            sweep.process.wait()


def trained(output_dir, *words):
    """The folder of a run that this process trains as the cluster's jobs do: on one thread, for the same last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return train(compose_config([*TINY, f"paths.output_dir={output_dir}", *words])).folder
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """What a run comes to that nothing happens to: its history and its summary, to the bit."""
    return cache(lambda *words: figures(trained(tmp_path_factory.mktemp("alone"), *words)))


def figures(folder):
    return (folder / "metrics.csv").read_text(), json.loads((folder / "summary.json").read_text())


@pytest.fixture(scope="session", autouse=True)
def out_of_time(send):
    """Two runs whose jobs come to their time limit while the other tests go on: one may come back, one may not.

    SLURM counts in minutes, and looks at its clock every 30 s.
    """
    words = ("hydra.launcher.timeout_min=2", "hydra.launcher.signal_delay_s=10", *HOLD)
    return [send(*words, f"hydra.launcher.max_num_timeout={often}", f"seed={often}") for often in (3, 0)]


@pytest.fixture(scope="session")
def held(slurm, send):
    """Three runs, started together, each of which waits for what one of the tests does to it."""
    large = ("hydra.launcher.partition=spot", "hydra.launcher.mem_gb=16", "hydra.launcher.max_num_timeout=0")
    preempted = send(*large, "logger=wandb", "logger.wandb.mode=offline", *HOLD)
    requeued = send("seed=1", *HOLD)
    cancelled = send("seed=2", *HOLD)
    return {"preempted": preempted, "requeued": requeued, "cancelled": cancelled}


def take_the_place(slurm, folder):
    """A job that fits the cluster only if the one in ``spot`` leaves it."""
    return slurm.sbatch("--partition=high", "--mem=20G", "--output=/dev/null", "--wrap=true", cwd=folder)


def came_back(runs, slurm, job, wanted):
    """The run has resumed once, in the same job of SLURM, and is what it would have been undisturbed."""
    record = runs.record()
    assert (record["status"], record["resumed"]) == ("finished", 1), runs.logs()
    assert int(slurm.shown(job)["Restarts"]) >= 1
    assert figures(runs.run()) == wanted


def test_four_runs_by_one_command(send, undisturbed):
    sweep = send("loss=contrastive,triplet", "seed=range(2)")
    assert sweep.exit_code() == 0, sweep.logs()
    records = sweep.records()
    assert len(records) == 4
    assert {record["status"] for record in records.values()} == {"finished"}
    assert len({record["launch"].split()[0] for record in records.values()}) == 4, "each in a job of its own"
    assert list(sweep.table().values()) == ["finished"] * 4
    for folder in records:
        loss, seed = folder.parent.name.split("-")[0], folder.name[len("seed")]
        assert figures(folder) == undisturbed(f"loss={loss}", f"seed={seed}")


def test_a_preempted_job_comes_back_and_wandb_has_every_step_once(held, slurm, undisturbed):
    """Its notice is SIGUSR2; that the place was taken, and not the time up, costs it none of its time-outs."""
    sweep = held["preempted"]
    sweep.held()
    other = take_the_place(slurm, sweep.folder)
    assert sweep.exit_code() == 0, sweep.logs()
    assert slurm.shown(other)["JobState"] == "COMPLETED"
    assert "this job is preempted" in sweep.logs()
    came_back(sweep, slurm, sweep.job(), undisturbed("seed=0"))
    attempts = sorted(sweep.run().glob("wandb/offline-run-*/*.wandb"))
    assert {path.stem for path in attempts} == {f"run-{sweep.record()['wandb_id']}"}

    def steps():
        records = (record for path in attempts for record in records_of(path) if record.HasField("history"))
        return [
            row[STEP] for row in map(values, (record.history.item for record in records)) if "train/loss_step" in row
        ]

    until(lambda: len(steps()) >= 10, "what W&B's own process writes when the run's has ended")
    assert steps() == list(range(10))


def test_a_requeued_job_comes_back(held, slurm, undisturbed):
    """By an administrator, a failing node or ``scontrol``: nothing but SIGTERM comes before it."""
    sweep = held["requeued"]
    sweep.held()
    slurm("scontrol", "requeue", sweep.job())
    assert sweep.exit_code() == 0, sweep.logs()
    came_back(sweep, slurm, sweep.job(), undisturbed("seed=1"))


def test_a_cancelled_job_is_interrupted_and_can_go_on(held, slurm, undisturbed):
    sweep = held["cancelled"]
    sweep.held()
    slurm("scancel", sweep.job())
    assert sweep.exit_code() == 1, sweep.logs()
    assert (sweep.record()["status"], sweep.record()["reason"]) == ("interrupted", "stopped by SIGTERM")
    assert list(sweep.table().values()) == ["interrupted"]
    assert f"SLURM job {sweep.job()} ended as cancelled: " in sweep.err.read_text()
    assert trained(sweep.folder / "outputs", "seed=2", *HOLD) == sweep.run()
    assert sweep.record()["resumed"] == 1
    assert figures(sweep.run()) == undisturbed("seed=2")


@pytest.fixture
def script(slurm, tmp_path):
    """Submits ``train.py`` by sbatch, without submitit."""

    def go(how, *options):
        command = f"{how} {sys.executable} {ROOT / 'train.py'} {' '.join([*TINY, *HOLD])}"
        runs = Runs(tmp_path)
        common = ("--mem=1G", "--requeue", f"--output={tmp_path}/log.txt", "--open-mode=append")
        return runs, slurm.sbatch(*common, *options, f"--wrap={command}", cwd=tmp_path)

    return go


def finished(runs, slurm, job):
    until(lambda: slurm.shown(job)["JobState"] == "COMPLETED", f"job {job}\n{runs.logs()}")


def test_a_script_of_ones_own(script, slurm, undisturbed):
    """With a signal of its choice, to the only process there is."""
    runs, job = script("exec", "--signal=B:USR1@60")
    runs.held()
    slurm("scancel", "--batch", "--signal=USR1", job)
    finished(runs, slurm, job)
    assert "stopped by SIGUSR1: the same command resumes" in runs.logs()
    came_back(runs, slurm, job, undisturbed("seed=0"))


def test_a_script_that_asked_for_no_signal_is_preempted(script, slurm, undisturbed):
    """It gets SIGTERM and half a minute. To end by itself in this time would have been to fail."""
    runs, job = script("srun", "--partition=spot", "--mem=16G")
    runs.held()
    take_the_place(slurm, runs.folder)
    finished(runs, slurm, job)
    assert "stopped by SIGTERM: the same command resumes" in runs.logs()
    came_back(runs, slurm, job, undisturbed("seed=0"))


def test_two_tasks_stop_and_come_back_together(send, slurm):
    words = ("trainer.devices=2", "trainer.strategy=ddp", "hydra.launcher.tasks_per_node=2")
    sweep = send(*words, "trainer.log_every_n_steps=3", "+callbacks.hold._target_=hold.Hold", "+callbacks.hold.step=1")
    sweep.held(processes=2)
    slurm("scancel", "--signal=USR2", sweep.job())
    assert sweep.exit_code() == 0, sweep.logs()
    assert (sweep.record()["status"], sweep.record()["resumed"]) == ("finished", 1), sweep.logs()
    assert slurm.shown(sweep.job())["Restarts"] == "1"


def test_more_tasks_than_devices_is_one_line(send):
    sweep = send("hydra.launcher.tasks_per_node=2")
    assert sweep.exit_code() == 1
    assert "trainer.devices=1, but SLURM started 2 of 2 tasks: ask for --ntasks-per-node=1" in sweep.out.read_text()


def test_a_partition_that_does_not_exist_is_one_line(send):
    sweep = send("hydra.launcher.partition=spott")
    assert sweep.exit_code() == 2
    line = "metriscope: hydra.launcher.partition=spott: SLURM has no such partition; did you mean 'spot'? "
    assert sweep.err.read_text() == f"{line}There are: main, spot, high\n"


def test_a_job_that_runs_out_of_time_comes_back(out_of_time, slurm, undisturbed):
    sweep, _ = out_of_time
    assert sweep.exit_code() == 0, sweep.logs()
    assert "this job is timed-out" in sweep.logs()
    came_back(sweep, slurm, sweep.job(), undisturbed("seed=3"))


def test_a_job_that_ran_out_of_time_too_often_says_so(out_of_time):
    _, sweep = out_of_time
    assert sweep.exit_code() == 1, sweep.logs()
    assert (sweep.record()["status"], sweep.record()["reason"]) == ("interrupted", "stopped by SIGUSR2")
    assert "no way back to the queue (Job not requeued because: timed-out too many times.)" in sweep.logs()
    (state,) = states_of(sweep.folder / "outputs" / "default")
    assert (state.status, list(sweep.table().values())) == ("interrupted", ["interrupted"])


def test_jobs_share_a_fair_comparison(slurm, tmp_path):
    pytest.importorskip("optuna")
    words = ("trainer.max_epochs=1", "losses=contrastive,triplet/semihard", "trials=2", "folds=2", "repeats=1")
    asked = [*TINY, *words, "workers=0"]
    command = shlex.join([sys.executable, "-m", "metriscope", "fair", *asked])
    jobs = ("--array=1-2", "--cpus-per-task=1", "--mem=2G", "--output=job-%a.txt", f"--wrap=exec {command}")
    job = slurm.sbatch(*jobs, cwd=tmp_path)
    until(lambda: not slurm("squeue", "--noheader", f"--jobs={job}").strip(), "the end of both jobs")
    said = [(tmp_path / f"job-{number}.txt").read_text() for number in (1, 2)]
    assert all("fair: 2 of 2 repeats finished" in one for one in said), said
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert run("fair", [*asked, f"paths.output_dir={tmp_path / 'alone'}"]) == 0
    finally:
        torch.set_num_threads(threads)

    def outcome(root):
        rows = [vars(row) | {"seconds": 0} for row in read_ledger(root / "fair", 2)]
        return rows, json.loads((root / "fair" / "manifest.json").read_text())["hash"]

    assert outcome(tmp_path / "outputs") == outcome(tmp_path / "alone")
