"""What a run logs to, from its config: further loggers are built like any part, and none of them ends a run."""

import csv
import json
import os
import subprocess
import sys

import pytest
from tiny_runs import TINY

from metriscope.errors import InputError
from metriscope.tracking.guarded import GuardedLogger
from metriscope.tracking.history import HistoryLogger

OWN = '''
"""A logger of one's own."""

import json


class Lines:
    """Appends what it is told to a file in the run folder."""

    def __init__(self, folder, name="lines.jsonl", fails=False):
        self.path, self.fails = folder / name, fails

    def write(self, kind, values):
        with self.path.open("a") as file:
            file.write(json.dumps([kind, values]) + "\\n")

    def log_hyperparams(self, params):
        self.write("config", params["loss.name"])

    def log_metrics(self, metrics, step):
        if self.fails:
            raise OSError("the line is dead")
        self.write("metrics", {"step": step, **metrics})

    def log_figures(self, paths):
        self.write("figures", sorted(path.name for path in paths))

    def log_summary(self, values):
        self.write("summary", dict(values))

    def finish(self, exit_code):
        self.write("end", exit_code)


class Taker(Lines):
    """Takes tables and files, and says which files were there."""

    def log_summary(self, values):
        self.write("there", sorted(path.name for path in self.path.parent.glob("*.*")))

    def log_tables(self, tables):
        self.write("tables", {name: [list(table.columns)[0], len(table.rows)] for name, table in tables.items()})

    def log_artifacts(self, paths, metadata):
        self.write("files", [[path.name, path.is_file()] for path in paths] + [metadata["test/recall_at_1"]])


class Unwilling:
    def __init__(self):
        raise ConnectionError("no server")


class NoLogger:
    pass
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module with a logger, on the path."""
    (tmp_path / "my_loggers.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_loggers", None)


@pytest.mark.processes
def test_an_own_logger_is_a_class_and_a_yaml(tmp_path):
    (tmp_path / "my_loggers.py").write_text(OWN)
    (tmp_path / "my_configs" / "logger").mkdir(parents=True)
    text = "# Lines.\nname: lines\nfigures: true\nwandb: null\nmore:\n  lines:\n    _target_: my_loggers.Lines\n"
    (tmp_path / "my_configs" / "logger" / "lines.yaml").write_text(text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    words = [word for word in TINY if not word.startswith("logger=")]
    command = [sys.executable, "-m", "metriscope", "train", "--config-dir", "my_configs", *words, "logger=lines"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = tmp_path.rglob("lines.jsonl")
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert told[0] == ["config", "triplet"]
    assert told[-1] == ["end", 0]
    summary = json.loads((path.parent / "summary.json").read_text())
    assert ["summary", {**summary, "epochs": 2}] in told
    shown = sorted(figure.name for figure in (path.parent / "figures").glob("*.png"))
    assert ["figures", shown] in told
    steps = [values["step"] for kind, values in told if kind == "metrics" and "train/loss_step" in values]
    assert steps == list(range(10))


def test_the_history_is_always_the_first(run):
    outcome = run("+logger.more.csv._target_=pytorch_lightning.loggers.CSVLogger", "+logger.more.csv.name=further")
    loggers = outcome.trainer.loggers
    assert [type(one) for one in loggers] == [HistoryLogger, GuardedLogger]
    (path,) = outcome.folder.glob("further/version_0/metrics.csv")
    with path.open(newline="") as file:
        logged = [row for row in csv.DictReader(file) if row["train/loss_step"]]
    assert len(logged) == 10


def test_the_same_run_with_and_without(run, own):
    plain = run()
    again = run("+logger.more.mine._target_=my_loggers.Lines")
    assert again.folder == plain.folder
    assert not again.trained, "it had finished before"


def test_tables_and_files_on_request_come_after_the_files_of_the_run(run, own):
    words = ["logger=wandb", "logger.wandb.mode=disabled", "logger.figures=false", "trainer.max_epochs=1"]
    words += ["logger.wandb.tables=true", "logger.wandb.checkpoint=true", "evaluation.metrics.map_at_r=null"]
    outcome = run(*words, "+logger.more.mine._target_=my_loggers.Taker", "evaluation.monitor=val/recall_at_1")
    told = dict(json.loads(line) for line in (outcome.folder / "lines.jsonl").read_text().splitlines())
    assert {"summary.json", "embeddings.npz", "metrics.csv"} <= {*told["there"]}
    assert told["tables"] == {"classes": ["class", 5], "gallery": ["queries", 6], "hardest": ["position", 32]}
    assert told["files"] == [["best.ckpt", True], ["embeddings.npz", True], outcome.metrics["test/recall_at_1"]]


def test_a_logger_that_fails_warns_once_and_the_run_goes_on(run, own, caplog):
    target = "+logger.more.mine._target_=my_loggers.Lines"
    outcome = run(target, "+logger.more.mine.fails=true")
    said = [line for line in caplog.messages if line.startswith("logger.more.mine")]
    assert said == ["logger.more.mine could not log (the line is dead): the run goes on without it"]
    assert outcome.metrics == run("study=other").metrics
    lines = (outcome.folder / "lines.jsonl").read_text().splitlines()
    assert [json.loads(line)[0] for line in lines] == ["config", "end"]


def test_a_logger_that_cannot_start_warns_and_the_run_goes_on(run, own, caplog):
    outcome = run("+logger.more.mine._target_=my_loggers.Unwilling")
    assert "logger.more.mine could not start (no server): the run goes on without it" in caplog.messages
    assert len(outcome.trainer.loggers) == 1


def test_the_end_of_a_failed_run_is_told(run, own):
    words = ["+logger.more.mine._target_=my_loggers.Lines", "evaluation.monitor=val/nothing"]
    with pytest.raises(InputError):
        run(*words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["logger.more=3"], "logger.more=3: it has to be a mapping"),
        (["+logger.more.mine.level=1"], "logger.more.mine: it has to have a _target_, the dotted path of a logger"),
        (
            ["+logger.more.mine._target_=my_loggers.Line"],
            "logger.more.mine._target_=my_loggers.Line: my_loggers has no",
        ),
        (["+logger.more.mine._target_=nowhere.Lines"], "logger.more.mine._target_=nowhere.Lines: no module nowhere"),
        (["+logger.more.mine._target_=my_loggers.NoLogger"], "it is no logger, it has no log_metrics"),
        (
            ["+logger.more.mine._target_=my_loggers.Lines", "+logger.more.mine.nam=x"],
            "logger.more.mine.nam: Lines takes no such argument; did you mean 'name'?",
        ),
    ],
)
def test_what_is_no_logger_is_one_line(run, own, words, said):
    with pytest.raises(InputError) as refused:
        run(*words)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_none_is_dropped(run):
    assert len(run("+logger.more.mine=null").trainer.loggers) == 1
