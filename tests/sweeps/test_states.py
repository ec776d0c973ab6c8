"""How far runs are, told from their folders."""

import os
import signal

import pytest
from study_folders import held, leave

from metriscope.errors import InputError
from metriscope.files import write_json
from metriscope.sweeps.states import counts, state_of, states_of, table


@pytest.fixture
def study(tmp_path):
    return tmp_path / "outputs" / "trial"


def run(study, name, *record, **further):
    return leave(study / "digits-mlp" / "triplet-all" / name, *record, **further)


@pytest.mark.parametrize("status", ["finished", "failed", "interrupted", "pruned"])
def test_a_run_that_has_ended(study, status):
    state = state_of(run(study, "seed0-aaaa", status, reason="so it is"))
    assert (state.status, state.reason, state.seconds) == (status, "so it is", 12.0)
    assert state.ended == "2026-01-01T10:00:12+00:00"


def test_a_run_is_running_as_long_as_its_lock_is_held(study):
    folder = run(study, "seed0-aaaa", "running", pid=4242, host="node7")
    lock = held(folder)
    state = state_of(folder)
    assert (state.status, state.reason) == ("running", "process 4242 on node7")
    assert state.seconds > 12
    lock.release()
    state = state_of(folder)
    assert (state.status, state.reason) == ("interrupted", "killed: process 4242 on node7 is gone")


def test_the_lock_of_a_process_that_is_killed_is_free(study):
    folder = run(study, "seed0-aaaa", "running")
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        lock = held(folder)
        os.write(tell, b"x" if lock.is_locked else b"-")
        signal.pause()
    try:
        os.read(ready, 1)
        assert state_of(folder).status == "running"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert state_of(folder).status == "interrupted"


def test_planned_runs_that_nobody_began_are_missing(study):
    run(study, "seed0-aaaa")
    (study / ".multirun").mkdir()
    write_json(study / ".multirun" / "1.json", {"runs": {"digits-mlp/triplet-all/seed0-aaaa": [], "a/b/seed1-b": []}})
    (study / ".multirun" / "2.json").write_text("half of a fi")
    states = {state.folder.name: state.status for state in states_of(study)}
    assert states == {"seed0-aaaa": "finished", "seed1-b": "missing"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"status": "odd"}', "\xff\xfe"])
def test_a_broken_record_is_named_and_the_rest_shown(study, content):
    run(study, "seed0-aaaa")
    (run(study, "seed1-bbbb") / "run.json").write_text(content)
    broken, whole = sorted(states_of(study), key=lambda state: state.status)
    assert (broken.status, broken.folder.name) == ("broken", "seed1-bbbb")
    assert broken.reason.startswith("run.json is not readable")
    assert "\n" not in broken.reason
    assert whole.status == "finished"


def test_runs_that_were_put_aside_do_not_count(study):
    run(study, "seed0-aaaa")
    run(study, "seed0-aaaa.1", "failed")
    assert [state.folder.name for state in states_of(study)] == ["seed0-aaaa"]


def test_a_study_that_is_not_there(study):
    run(study, "seed0-aaaa")
    with pytest.raises(InputError, match=r"trail: no such folder; did you mean 'trial'\?"):
        states_of(study.with_name("trail"))
    with pytest.raises(InputError, match=r"nowhere.*no such folder\."):
        states_of(study / "nowhere" / "x")
    (study.parent / "empty").mkdir()
    with pytest.raises(InputError, match="no runs in it"):
        states_of(study.parent / "empty")


def test_counts_and_table(study):
    run(study, "seed0-aaaa")
    run(study, "seed1-bbbb", "failed", reason="RunError: loss not\nfinite")
    states = states_of(study)
    assert counts(states) == "2 runs: 1 finished, 1 failed"
    assert counts(states[:1]) == "1 run: 1 finished"
    head, first, second = table(states, study).splitlines()
    assert head.split()[:3] == ["run", "status", "time"]
    assert first.split() == ["digits-mlp/triplet-all/seed0-aaaa", "finished", "12.0", "s", "2026-01-01", "10:00"]
    assert second.endswith("2026-01-01 10:00  RunError: loss not finite")
