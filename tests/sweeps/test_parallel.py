"""Jobs side by side in processes of their own, for real: outcomes, signals, a process that dies."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_runs import TINY

from metriscope.sweeps.states import states_of

pytest.importorskip("hydra_plugins.hydra_joblib_launcher")

ROOT = Path(__file__).resolve().parents[2]
PARALLEL = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
LONG = ["trainer.max_epochs=400"]


@pytest.fixture
def begin(tmp_path):
    """Starts a sweep in a session of its own, as a terminal would."""
    begun = []

    def go(*words):
        command = [sys.executable, str(ROOT / "train.py"), "-m", *TINY, f"paths.output_dir={tmp_path}", *words]
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive"}
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            command, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=environment, cwd=tmp_path
        )
        begun.append(process)
        return process

    yield go
    for process in begun:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(condition, seconds=200):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def at_work(study):
    """Records of the runs that have finished an epoch and go on."""
    paths = study.glob("*/*/*/checkpoints/last.ckpt")
    records = [json.loads((path.parents[1] / "run.json").read_text()) for path in paths]
    return [record for record in records if record["status"] == "running"]


@pytest.mark.processes
def test_outcomes_of_other_processes_are_counted(begin, tmp_path):
    process = begin("optimizer=sgd", "head.normalize=false", "optimizer.lr=0.01,1e30", "seed=range(2)", *PARALLEL)
    out, err = process.communicate(timeout=250)
    assert process.returncode == 1, err
    assert "4 runs: 4 new" in out
    assert "4 runs: 2 finished, 2 failed" in out
    states = states_of(tmp_path / "default")
    assert len({json.loads((state.folder / "run.json").read_text())["pid"] for state in states}) == 2
    for state in states:
        if state.status == "failed":
            assert "not finite" in (state.folder / "train.log").read_text()
            assert "Traceback" in (state.folder / "train.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("whole_terminal", [True, False], ids=["ctrl-c", "sigterm"])
def test_a_signal_lets_the_runs_save_and_stop(begin, tmp_path, whole_terminal):
    process = begin("seed=range(4)", *LONG, *PARALLEL)
    wait_for(lambda: len(at_work(tmp_path / "default")) == 2)
    if whole_terminal:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=250)
    assert process.returncode == 130, err
    assert "4 runs: 2 interrupted, 2 missing" in out
    assert "the runs at work save and stop" in err
    reasons = {state.reason for state in states_of(tmp_path / "default") if state.status == "interrupted"}
    # A terminal signals the runs as well as the sweep, which passes it on as SIGTERM: whichever comes first.
    assert reasons <= {"stopped by SIGTERM", *(["stopped by SIGINT"] if whole_terminal else [])}


@pytest.mark.slow
def test_a_process_that_dies_takes_no_run_along(begin, tmp_path):
    process = begin("seed=range(3)", "trainer.max_epochs=60", *PARALLEL)
    wait_for(lambda: len(at_work(tmp_path / "default")) == 2)
    os.kill(at_work(tmp_path / "default")[0]["pid"], signal.SIGKILL)
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err
    assert "a process died; 3 runs go on in new ones" in err
    assert "3 runs: 3 finished" in out


@pytest.mark.slow
def test_runs_whose_sweep_was_killed_are_left_to_their_processes(begin, tmp_path):
    """Jobs outlive a sweep that gets SIGKILL; whoever comes next leaves them alone."""
    process = begin("seed=range(2)", *LONG, *PARALLEL)
    wait_for(lambda: len(at_work(tmp_path / "default")) == 2)
    pids = [record["pid"] for record in at_work(tmp_path / "default")]
    process.kill()
    process.wait()
    second = begin("seed=range(2)", *LONG)
    out, err = second.communicate(timeout=250)
    for pid in pids:
        os.kill(pid, signal.SIGTERM)
    assert second.returncode == 0, err
    assert "2 running elsewhere" in out
    assert all(f"is being worked on by process {pid}" in err for pid in pids)
    wait_for(lambda: all(state.status == "interrupted" for state in states_of(tmp_path / "default")))
