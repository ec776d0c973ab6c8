"""``python train.py -m`` with runs that do not train: what is run, skipped, repeated, and what is said about it."""

import json
import os
import signal
import sys

import pytest
from study_folders import held, leave
from tiny_runs import TINY

import metriscope.app
from metriscope.cli import train as main
from metriscope.errors import InputError, Pruned, RunError
from metriscope.outcome import Outcome
from metriscope.sweeps.launch import Launcher
from metriscope.sweeps.states import states_of


@pytest.fixture
def sweep(monkeypatch, capsys, tmp_path, one_composer):
    """Runs ``main()`` on a sweep whose runs do ``behaviour(seed)``; returns the exit code, seeds run, and output."""

    def go(*words, behaviour=lambda seed: None):
        ran = []

        def execute(run, stop):
            ran.append(run.config["seed"])
            behaviour(run.config["seed"])
            (run.folder / "summary.json").write_text("{}")
            return Outcome({}, run.folder)

        monkeypatch.setattr(metriscope.app, "_execute", execute)
        monkeypatch.setattr(sys, "argv", ["train.py", "-m", *TINY, f"paths.output_dir={tmp_path}", *words])
        with pytest.raises(SystemExit) as exit_:
            main()
        return exit_.value.code, ran, capsys.readouterr()

    return go


def failing(*seeds, error=RunError):
    def behaviour(seed):
        if seed in seeds:
            raise error(f"no good at {seed}")

    return behaviour


def states(tmp_path):
    return {int(state.folder.name[4:].split("-")[0]): state for state in states_of(tmp_path / "default")}


def test_everything_is_run_once(sweep, tmp_path):
    code, ran, said = sweep("seed=range(3)")
    assert (code, ran) == (0, [0, 1, 2])
    assert said.out.startswith(f"study {tmp_path}/default: 3 runs: 3 new\n")
    assert said.out.endswith(f"study {tmp_path}/default: 3 runs: 3 finished\n")
    assert said.out.count("  finished  ") == 3
    code, ran, said = sweep("seed=range(3)")
    assert (code, ran, said.err) == (0, [], "")
    assert said.out == f"study {tmp_path}/default: 3 runs: 3 finished\n"


@pytest.mark.usefixtures("short_launch")
def test_a_failed_run_leaves_the_others_alone_and_is_repeated(sweep, tmp_path):
    code, ran, said = sweep("seed=range(3)", behaviour=failing(1))
    assert (code, ran) == (1, [0, 1, 2])
    assert "failed: no good at 1" in said.err
    assert "3 runs: 2 finished, 1 failed" in said.out
    assert "RunError: no good at 1" in said.out
    assert states(tmp_path)[1].status == "failed"
    code, ran, said = sweep("seed=range(3)")
    assert (code, ran) == (0, [1])
    assert "3 runs: 2 finished, 1 to repeat (failed)" in said.out


@pytest.mark.usefixtures("short_launch")
def test_a_sweep_that_ran_nothing_is_no_success(sweep, monkeypatch):
    monkeypatch.setattr("metriscope.sweeps.jobs.Task.__call__", lambda self, cfg: None)
    code, ran, said = sweep("seed=range(2)")
    assert (code, ran) == (1, [])
    assert "2 runs: 2 missing" in said.out


@pytest.mark.usefixtures("short_launch")
def test_a_sweep_goes_offline_once_a_server_has_not_taken_a_run(monkeypatch, tmp_path):
    modes = []

    def execute(run, stop):
        modes.append(run.config["logger"]["wandb"]["mode"])
        return Outcome({}, run.folder, unsent=len(modes) == 2)

    monkeypatch.setattr("metriscope.app._execute", execute)
    words = [*TINY, f"paths.output_dir={tmp_path}", "logger=wandb", "seed=range(4)"]
    monkeypatch.setattr(sys, "argv", ["train.py", "-m", *words])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    assert modes == ["auto", "auto", "offline", "offline"]
    assert not list(tmp_path.glob("default/.multirun/offline*"))


@pytest.mark.usefixtures("short_launch")
def test_every_failure_is_in_its_own_log(sweep, tmp_path):
    sweep("seed=range(2)", behaviour=failing(0, 1, error=ZeroDivisionError))
    for seed, state in states(tmp_path).items():
        log = (state.folder / "train.log").read_text()
        assert f"ZeroDivisionError: no good at {seed}" in log
        assert "Traceback" in log
        assert f"no good at {1 - seed}" not in log


@pytest.mark.usefixtures("short_launch")
def test_a_bug_also_shows_its_traceback(sweep):
    code, _, said = sweep("seed=range(2)", behaviour=failing(0, error=ZeroDivisionError))
    assert code == 1
    assert said.err.count("Traceback") == 1


@pytest.mark.usefixtures("short_launch")
def test_interrupted_and_killed_runs_go_on(sweep, tmp_path):
    sweep("seed=range(3)")
    folders = [states(tmp_path)[seed].folder for seed in range(3)]
    leave(folders[0], "interrupted", identity=json.loads((folders[0] / "run.json").read_text())["identity"])
    leave(folders[2], "running", identity=json.loads((folders[2] / "run.json").read_text())["identity"])
    code, ran, said = sweep("seed=range(3)")
    assert (code, ran) == (0, [0, 2])
    assert "3 runs: 1 finished, 2 to resume" in said.out


def test_a_run_that_another_process_works_on_is_no_failure(sweep, tmp_path):
    sweep("seed=range(2)", behaviour=failing(0))
    folder = states(tmp_path)[0].folder
    lock = held(folder)
    leave(folder, "running", pid=4242, host="node7")
    code, ran, said = sweep("seed=range(2)")
    lock.release()
    assert (code, ran) == (0, [])
    assert "2 runs: 1 finished, 1 running elsewhere" in said.out
    assert "is being worked on by process 4242 on node7" in said.err
    assert "2 runs: 1 finished, 1 running" in said.out


@pytest.mark.usefixtures("short_launch")
def test_a_job_that_is_refused_counts_as_failed(sweep, tmp_path):
    """Nothing may be written into the folder of another config: only the job can say so."""
    sweep("seed=range(2)")
    leave(states(tmp_path)[1].folder, "interrupted", identity="of another")
    code, ran, said = sweep("seed=range(2)")
    assert (code, ran) == (1, [])
    assert "2 runs: 1 finished, 1 failed" in said.out
    assert "holds a run of another config" in said.out
    assert json.loads((states(tmp_path)[1].folder / "run.json").read_text())["identity"] == "of another"


def test_ctrl_c_stops_the_sweep(sweep, tmp_path):
    def behaviour(seed):
        if seed == 1:
            os.kill(os.getpid(), signal.SIGINT)

    code, ran, said = sweep("seed=range(3)", behaviour=behaviour)
    assert (code, ran) == (130, [0, 1])
    assert "3 runs: 1 finished, 1 interrupted, 1 missing" in said.out
    assert said.err.endswith("metriscope: interrupted: the same command goes on\n")
    assert states(tmp_path)[1].reason == "stopped by SIGINT"
    assert sweep("seed=range(3)")[:2] == (0, [1, 2])


@pytest.mark.usefixtures("short_launch")
def test_sigterm_stops_it_too(sweep):
    code, ran, _ = sweep("seed=range(3)", behaviour=lambda seed: os.kill(os.getpid(), signal.SIGTERM))
    assert (code, ran) == (130, [0])
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.usefixtures("short_launch")
def test_resume_never_and_must(sweep):
    sweep("seed=range(2)")
    code, ran, said = sweep("seed=range(2)", "resume=never")
    assert (code, ran) == (0, [0, 1])
    assert "2 to run afresh" in said.out
    code, ran, said = sweep("seed=range(3)", "resume=must")
    assert (code, ran) == (1, [])
    assert "resume=must, but" in said.err


@pytest.mark.usefixtures("short_launch")
def test_a_pruned_run_is_no_failure(sweep, tmp_path):
    code, _, said = sweep("seed=range(2)", behaviour=failing(0, error=Pruned))
    assert code == 0
    assert "2 runs: 1 finished, 1 pruned" in said.out
    assert states(tmp_path)[0].reason == "no good at 0"


@pytest.mark.parametrize("words", [["seed=0,-1"], ["loss=triplet,tripplet"], ["optimizer.lr=interval(1,2)"]], ids=str)
def test_mistakes_are_found_before_anything_starts(sweep, words):
    code, ran, said = sweep(*words)
    assert (code, ran, said.out) == (2, [], "")
    assert said.err.startswith("metriscope: ")
    assert said.err.count("\n") == 1


@pytest.mark.processes
@pytest.mark.usefixtures("short_launch")
def test_a_finished_study_imports_nothing_heavy(sweep, tmp_path):
    sweep("seed=range(2)")
    import subprocess

    script = f"""
import sys
from metriscope.cli import train as main
sys.argv = ["train.py", "-m", *{TINY!r}, "paths.output_dir={tmp_path}", "seed=range(2)"]
try:
    main()
except SystemExit as exit_:
    assert exit_.code == 0
assert not {{"torch", "pytorch_lightning", "wandb", "optuna", "joblib"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 runs: 2 finished" in done.stdout


@pytest.mark.parametrize(("choice", "package"), [("joblib", "hydra-joblib-launcher"), ("ray", "hydra-ray-launcher")])
def test_a_launcher_that_is_not_installed(sweep, monkeypatch, choice, package):
    monkeypatch.setattr("metriscope.sweeps.launch._installed", lambda module: False)
    code, ran, said = sweep("seed=0,1", f"hydra/launcher={choice}")
    assert (code, ran) == (2, [])
    assert said.err == f"metriscope: hydra/launcher={choice} needs a package: pip install {package}\n"


def test_a_launcher_that_gives_up_is_one_line(sweep, monkeypatch):
    def broken(self, jobs):
        raise ValueError("no such\npartition")

    monkeypatch.setattr(Launcher, "_launch", broken)
    code, _, said = sweep("seed=0,1")
    assert code == 1
    assert said.err == "metriscope: the launcher gave up: no such partition\n"


@pytest.mark.parametrize("word", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "sweep=optuna_tpe"])
def test_words_for_sweeps_need_multirun(word, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", *(["hydra/launcher=joblib"] if "n_jobs" in word else []), word])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    assert "add -m" in capsys.readouterr().err


@pytest.mark.usefixtures("short_launch")
def test_a_surrounding_agent_is_left(sweep, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_ID", "the agent's")
    seen = []
    sweep("seed=0", behaviour=lambda seed: seen.append(os.environ.get("WANDB_RUN_ID")))
    assert seen == [None]


@pytest.mark.usefixtures("short_launch")
def test_input_errors_of_a_job_are_recorded(sweep, tmp_path):
    code, _, said = sweep("seed=0,1", behaviour=failing(0, error=InputError))
    assert code == 1
    assert states(tmp_path)[0].reason == "InputError: no good at 0"
    assert "2 runs: 1 finished, 1 failed" in said.out
