import json
import shutil
from pathlib import Path

import pytest
import yaml
from studies import config, write_run, write_study

from metriscope.config.plain import flatten
from metriscope.errors import InputError
from metriscope.run import configs as reading
from metriscope.run.history import points, read_history
from metriscope.run.record import INTERRUPTED, RUNNING
from metriscope.run.study import load_run, load_study


def test_a_study_is_what_its_runs_wrote(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"contrastive": 0.7, "triplet": 0.8}, seeds=2, epochs=4)
    study = load_study(folder)
    assert study.name == "trial"
    assert len(study.runs) == len(study.finished) == 4
    assert not study.problems
    run = study.runs[0]
    assert run.name.startswith("synthetic-mlp/contrastive-all/seed0-")
    assert run.config == flatten(yaml.safe_load((run.folder / "config.yaml").read_text()))
    assert run.metrics == json.loads((run.folder / "summary.json").read_text())
    assert run.record.versions["torch"]
    rows = run.history(["val/recall_at_1"])
    assert points(rows, "val/recall_at_1") == points(read_history(run.folder / "metrics.csv"), "val/recall_at_1")
    assert len(points(rows, "val/recall_at_1")[0]) == 4
    assert {key for row in rows for key in row} == {"epoch", "step", "val/recall_at_1"}


def test_a_trained_run_reads_like_a_made_up_one(run, tmp_path: Path) -> None:
    trained = load_run(run("seed=1").folder)
    made = load_run(write_run(config(tmp_path / "made", "dataset=synthetic"), epochs=2))
    final = {"train/loss_decay_fit", "train/loss_half_life", "test/knn_accuracy", "test/linear_probe_accuracy"}
    recall = {f"{split}/recall_at_{k}" for split in ("val", "test", "best/val") for k in (4, 8)}
    assert made.metrics.keys() - final - recall <= trained.metrics.keys()
    assert {"train/loss", "val/map_at_r", "test/variance_intra", "best/epoch"} <= made.metrics.keys()
    assert trained.config.keys() == made.config.keys()
    keys = ["train/loss", "val/variance_intra", "train/grad_norm"]
    for key in keys:
        assert points(trained.history(keys), key)[0] == points(made.history(keys), key)[0] == [0, 1]


def test_values_that_were_not_finite_are_absent(tmp_path: Path) -> None:
    folder = write_run(config(tmp_path), final={"test/map_at_r": float("nan")})
    assert "test/map_at_r" not in load_run(folder).metrics
    (folder / "summary.json").write_text('{"test/map_at_r": NaN, "test/recall_at_1": 0.5, "test/odd": true}')
    assert load_run(folder).metrics == {"test/recall_at_1": 0.5}


def test_folders_set_aside_and_hidden_ones_are_passed_over(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"triplet": 0.8}, seeds=2)
    first = next(folder.glob("*/*/seed0-*"))
    first.rename(first.with_name(f"{first.name}.1"))
    (folder / ".multirun" / "seed0-00000000").mkdir(parents=True)
    (folder / "report").mkdir()
    study = load_study(folder)
    assert [run.config["seed"] for run in study.runs] == [1]
    assert not study.problems


@pytest.mark.parametrize("status", [RUNNING, INTERRUPTED])
def test_unfinished_runs_are_there_but_not_finished(tmp_path: Path, status: str) -> None:
    folder = write_study(tmp_path, {"triplet": 0.8}, seeds=1)
    write_run(config(tmp_path, seed=7), status=status)
    study = load_study(folder)
    assert [run.config["seed"] for run in study.unfinished] == [7]
    assert study.unfinished[0].metrics == {}
    assert len(study.finished) == 1


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("run.json", None, "run.json is missing: the run never started or was cut off; left out"),
        ("run.json", '{"status": "fini', "run.json is not readable (Unterminated string"),
        ("run.json", "[]", "run.json is not readable (not an object): move the folder away; left out"),
        ("run.json", "{}", "run.json is not readable (it has no status): move the folder away; left out"),
        ("config.yaml", None, "config.yaml is missing"),
        ("config.yaml", "loss:\n  name: [triplet\n", "config.yaml is not readable (while parsing"),
        ("config.yaml", "loss:\n  name: triplet\n", "config.yaml is not readable (cut off, or no config of a run)"),
        ("config.yaml", "- a\n", "config.yaml is not readable (not a mapping)"),
        ("config.yaml", "seed: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        ("summary.json", None, "summary.json is missing"),
        ("summary.json", '{"test/recall_at_1": 0.', "summary.json is not readable (Expecting"),
    ],
)
def test_a_broken_run_is_one_line_and_the_rest_is_read(
    tmp_path: Path, file: str, content: str | None, said: str
) -> None:
    folder = write_study(tmp_path, {"triplet": 0.8}, seeds=3)
    path = next(folder.glob("*/*/seed1-*")) / file
    path.unlink() if content is None else path.write_text(content)
    study = load_study(folder)
    assert [run.config["seed"] for run in study.runs] == [0, 2]
    (line,) = study.problems
    assert str(path) in line
    assert said in line
    assert "\n" not in line


def test_a_history_whose_end_is_torn_still_reads(tmp_path: Path) -> None:
    folder = write_run(config(tmp_path), epochs=3)
    path = folder / "metrics.csv"
    path.write_text(path.read_text()[:-5])
    assert len(points(load_run(folder).history(["train/loss"]), "train/loss")[0]) == 3


def test_nothing_to_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_study(tmp_path / "none")
    with pytest.raises(InputError, match="holds no runs: train some"):
        load_study(tmp_path)
    folder = write_study(tmp_path, {"triplet": 0.8}, seeds=1)
    next(folder.glob("*/*/*/run.json")).unlink()
    with pytest.raises(InputError, match=r"holds no readable run: .*run\.json is missing"):
        load_study(folder)


def test_sections_read_as_the_whole_does(tmp_path: Path) -> None:
    made = config(tmp_path, "loss=sum", tags=["a b", "#c", "- d"], paths__data_dir="two\nlines: *\n\n# of text")
    made |= {"list": [{"a": 1}, [2, None]], "empty": {}, "none": None, "odd key:": "yes", "text": "x " * 200}
    for text in (yaml.safe_dump(made, sort_keys=False), yaml.safe_dump(made, allow_unicode=True)):
        assert reading._parse(text) == yaml.safe_load(text) == made
    shared = ["same"]
    text = yaml.safe_dump({"seed": 0, "one": shared, "two": {"three": shared}})
    assert "*id001" in text
    assert reading._parse(text) == {"seed": 0, "one": ["same"], "two": {"three": ["same"]}}


def test_a_copy_of_a_run_is_no_repeat_of_it(tmp_path: Path) -> None:
    folder = write_study(tmp_path, {"contrastive": 0.7}, seeds=2, epochs=1)
    wanted = load_study(folder)
    one = wanted.finished[0]
    assert one.folder is not None
    copy = shutil.copytree(one.folder, one.folder.with_name("seed99-cccccccc"))
    found = load_study(folder)
    assert len(found.runs) == len(wanted.runs)
    (line,) = set(found.problems) - set(wanted.problems)
    assert "have the same config" in line
    assert copy.name in line
