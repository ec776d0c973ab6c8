"""``run.json`` is read in one place: what is wrong with one is one line, and the other runs go on."""

import json
from dataclasses import fields

import pytest
from studies import config, write_run, write_study

from metriscope.reports.comparison import compare
from metriscope.reports.warnings import left_out
from metriscope.run.folder import open_run
from metriscope.run.record import BROKEN, FINISHED, MISSING, PRUNED, STATUSES, Record, Unreadable, duration, read_record
from metriscope.run.study import load_study
from metriscope.sweeps.states import ORDER, states_of


def changed_record(folder, **changes):
    path = folder / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"status": "odd"}, "status=odd: it has to be one of finished, running, pruned, interrupted, failed"),
        ({"status": None}, "status=null: it has to be one of"),
        ({"seconds": "abc"}, "seconds=abc: it has to be a number of at least 0"),
        ({"seconds": -1}, "seconds=-1: it has to be a number of at least 0"),
        ({"epochs": 2.5}, "epochs=2.5: it has to be a whole number of at least 0, or null"),
        ({"metrics": {"own": ["my own"]}}, "metrics={'own': ['my own']}: it has to be"),
        ({"metrics": {"own": "text"}}, "metrics={'own': 'text'}: it has to be"),
        ({"pid": "here"}, "pid=here: it has to be a whole number, or null"),
        ({"started": "yesterday"}, "started=yesterday: it has to be a time such as"),
        ({"running_since": "2026-01-01T00:00:00"}, "running_since=2026-01-01T00:00:00: it has to be a time"),
        ({"versions": ["torch"]}, "it has to be a mapping"),
        ({"git": "clean"}, "git=clean: it has to be a mapping, or null"),
    ],
)
def test_a_value_of_another_type_is_one_line_wherever_it_is_read(tmp_path, changes, said):
    study = write_study(tmp_path, {"triplet": 0.8}, seeds=3)
    folder = next(study.glob("*/*/seed1-*"))
    changed_record(folder, **changes)
    with pytest.raises(Unreadable) as refused:
        read_record(folder)
    assert said in str(refused.value)
    assert str(refused.value).startswith(f"{folder / 'run.json'} is not readable (")
    assert "\n" not in str(refused.value)
    found = load_study(study)
    assert [run.config["seed"] for run in found.runs] == [0, 2]
    assert found.problems == [f"{refused.value}; left out"]
    states = {state.folder: state for state in states_of(study)}
    assert sorted(state.status for state in states.values()) == [BROKEN, FINISHED, FINISHED]
    assert states[folder].reason == f"run.json {refused.value.problem}"
    made = config(tmp_path, "loss=triplet", "dataset=synthetic", seed=1)
    with pytest.raises(Unreadable, match="is not readable"), open_run(made):
        pass


def test_what_is_missing_but_the_status_has_a_default_and_further_keys_pass(tmp_path):
    (tmp_path / "run.json").write_text('{"status": "failed", "of": "a later patch", "seconds": 3}')
    assert read_record(tmp_path) == Record("failed", seconds=3)
    (tmp_path / "run.json").write_text('{"seconds": 3}')
    with pytest.raises(Unreadable, match="it has no status"):
        read_record(tmp_path)
    (tmp_path / "run.json").unlink()
    assert read_record(tmp_path) is None


def test_what_a_run_writes_is_what_is_read(run):
    folder = run().folder
    written = json.loads((folder / "run.json").read_text())
    assert list(written) == [one.name for one in fields(Record)]
    assert vars(read_record(folder)) == written


def test_one_vocabulary():
    assert (*STATUSES, BROKEN, MISSING) == ORDER
    assert set(ORDER) == {"finished", "running", "pruned", "interrupted", "failed", "broken", "missing"}


def test_pruned_runs_are_told_as_pruned_and_not_compared(tmp_path):
    study = write_study(tmp_path, {"contrastive": 0.7, "triplet": 0.8}, seeds=2)
    pruned = write_run(config(tmp_path, "loss=triplet", seed=7), status=PRUNED)
    found = load_study(study)
    assert [run.status for run in found.unfinished] == [PRUNED]
    name = pruned.relative_to(study).as_posix()
    assert left_out(found) == [f"{name} was pruned by its search: because; left out"]
    assert sum(len(group.runs) for group in compare(found).grouping.groups) == 4


def test_the_number_of_epochs_is_that_of_the_history(run, capsys):
    early = [
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=1",
        "optimizer.lr=0",
        "trainer.max_epochs=9",
    ]
    outcome = run(*early)
    assert read_record(outcome.folder).epochs == 2
    assert "2 epochs" in capsys.readouterr().out
    run(*early)
    assert "2 epochs" in capsys.readouterr().out, "of a run that had finished before, too"
    full = run()
    assert read_record(full.folder).epochs == 2
    notes = compare(load_study(full.folder.parents[2])).notes
    assert not [line for line in notes if line.startswith("budget")], "both trained as long"
    run("seed=1", "trainer.max_epochs=1")
    notes = compare(load_study(full.folder.parents[2])).notes
    (line,) = [line for line in notes if line.startswith("budget")]
    assert line == "budget differs on synthetic: number of epochs trained is 2 (2 runs), 1 (1 run)"


def test_a_record_without_epochs_counts_those_that_its_config_allows(tmp_path):
    study = write_study(tmp_path, {"triplet": 0.8}, seeds=2, trainer__max_epochs=3)
    first, second = sorted(study.glob("*/*/seed*"))
    changed_record(first, epochs=None)
    changed_record(second, epochs=2)
    (line,) = [line for line in compare(load_study(study)).notes if line.startswith("budget")]
    assert line.endswith("number of epochs trained is 2 (1 run), 3 (1 run)")


def test_a_stopped_run_has_the_epochs_that_it_ended(tmp_path, tiny):
    cfg = tiny("trainer.max_epochs=3")
    from omegaconf import OmegaConf

    with open_run(OmegaConf.to_container(cfg, resolve=True)) as run:
        run.start()
        rows = ["epoch,step,train/loss_step,train/loss", "0,4,0.5,", "0,4,,0.5", "1,5,0.4,"]
        run.history.write_text("\n".join(rows) + "\n")
        run.end("interrupted", "so it was")
        assert read_record(run.folder).epochs == 1
        run.history.write_text("epoch,step\n1\n0,1\n")
        run.end("failed", "a history that does not read")
        assert read_record(run.folder).epochs is None


def test_durations():
    assert [duration(s) for s in (None, 0.04, 99.94, 100, 5900, 11100)] == [
        "-",
        "0.0 s",
        "99.9 s",
        "2 min",
        "98 min",
        "3 h 05",
    ]
