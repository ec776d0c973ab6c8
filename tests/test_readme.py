"""The README's commands compose and pass the checks; its example of an own loss runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from metriscope import cli
from metriscope.commands import data, data_audit
from metriscope.commands.train import check_command
from metriscope.config.compose import compose_config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = sorted(
    {
        line
        for kind, text in BLOCKS
        if kind == "console"
        for line in text.splitlines()
        if line.startswith(("python train", "metriscope train"))
    }
    | set(re.findall(r"`((?:python train\.py|metriscope train) [^`]*)`", README))
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_sound(command):
    words = shlex.split(command)[2:]
    if not {"--help", "--cfg"} & set(words):
        check_command([word for word in words if not word.startswith("-")], multirun="-m" in words)


def test_commands_that_prepare_data_know_their_arguments():
    lines = [line for _, text in BLOCKS for line in text.splitlines() if line.startswith("metriscope data")]
    audits = [line for line in lines if line.startswith("metriscope data audit")]
    assert 0 < len(audits) < len(lines)
    for line in audits:
        assert compose_config(data_audit.parser().parse_intermixed_args(shlex.split(line)[3:]).words)
    parser = data._parser()
    for line in lines:
        assert line in audits or parser.parse_args(shlex.split(line)[2:]).names


def test_a_trained_model_works_as_written(served, tmp_path, monkeypatch, capsys):
    run, photos = served
    monkeypatch.chdir(tmp_path)
    Path("photos").symlink_to(photos)
    shutil.copy(photos / "class 0" / "0.png", "query.jpg")
    (example,) = [text for kind, text in BLOCKS if kind == "python" and "metriscope.load(" in text]
    exec(compile(re.sub('load\\(".*"\\)', f"load({str(run)!r})", example), "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("[['class 0/0.png', ")
    lines = [
        line for _, text in BLOCKS for line in text.splitlines() if line.startswith("metriscope") and " RUN " in line
    ]
    assert len(lines) >= 3
    for line in lines:
        command, *words = shlex.split(line.replace("RUN", str(run)))[1:]
        if command in ("embed", "index", "search"):
            assert cli.run(command, words) == 0
            assert capsys.readouterr().err == ""


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(re.findall(r"\bmake ([\w-]+)", README)) <= targets


@pytest.mark.processes
def test_own_loss_runs(tmp_path):
    for _, text in BLOCKS:
        first = text.splitlines()[0]
        if first.startswith("# my_"):
            path = tmp_path / first[2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    (line,) = [line for _, text in BLOCKS for line in text.splitlines() if line.startswith("PYTHONPATH=")]
    words = shlex.split(line)[2:]
    words[0] = str(ROOT / words[0])
    short = ["trainer.max_epochs=1", "trainer.limit_train_batches=2", "logger=none"]
    done = subprocess.run(
        [sys.executable, *words, *short],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "Recall@1" in done.stdout


def test_the_python_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    examples = [text for kind, text in BLOCKS if kind == "python" and text.startswith(("from ", "import "))]
    run, parts = [text for text in examples if "metriscope.load(" not in text]
    exec(compile(run, "README.md", "exec"), {})
    assert str(Path("outputs") / "default") in capsys.readouterr().out
    exec(compile(parts, "README.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out) <= 1
