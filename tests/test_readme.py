"""The commands of README.md and docs/ compose and pass the checks, their examples run, their links lead to files."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import written

from metriscope import cli
from metriscope.commands import data, data_audit
from metriscope.commands.train import check_command
from metriscope.config.compose import compose_config

ROOT = Path(__file__).parents[1]
# It needs a package of one's own: tests/config/test_installed.py installs one.
ELSEWHERE = {"metriscope train loss=pull"}
COMMANDS = sorted(
    {
        *written.lines("python train"),
        *written.lines("metriscope train"),
        *written.inline(r"(?:python train\.py|metriscope train) "),
    }
    - ELSEWHERE
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_sound(command):
    words = shlex.split(command)[2:]
    if not {"--help", "--cfg", "--hydra-help", "-sc"} & set(words):
        check_command([word for word in words if not word.startswith("-")], multirun="-m" in words)


def test_commands_that_prepare_data_know_their_arguments():
    lines = written.lines("metriscope data")
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
    page = "docs/how-to/after_training.md"
    (example,) = [text for kind, text in written.blocks(page) if kind == "python"]
    exec(compile(re.sub('load\\(".*"\\)', f"load({str(run)!r})", example), page, "exec"), {})
    assert capsys.readouterr().out.startswith("[['class 0/0.png', ")
    lines = [line for line in written.lines("metriscope") if " RUN " in line]
    assert len(lines) >= 3
    for line in lines:
        command, *words = shlex.split(line.replace("RUN", str(run)))[1:]
        if command in ("embed", "index", "search"):
            assert cli.run(command, words) == 0
            assert capsys.readouterr().err == ""


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    used = {
        target for text in written.PAGES.values() for target in re.findall(r"(?:^|`)make ([\w-]+)", text, re.MULTILINE)
    }
    assert {"train", "test", "docs"} <= used <= targets


@pytest.mark.processes
def test_own_loss_runs(tmp_path):
    blocks = written.blocks("docs/how-to/own_loss.md")
    for _, text in blocks:
        first = text.splitlines()[0]
        if first.startswith("# my_"):
            path = tmp_path / first[2:]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    (line,) = [line for _, text in blocks for line in text.splitlines() if line.startswith("PYTHONPATH=")]
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
    (first,) = [text for kind, text in written.blocks("README.md") if kind == "python"]
    run, parts = [text for kind, text in written.blocks("docs/how-to/python.md") if kind == "python"]
    assert first == run
    exec(compile(run, "README.md", "exec"), {})
    assert str(Path("outputs") / "default") in capsys.readouterr().out
    exec(compile(parts, "python.md", "exec"), {})
    assert 0 <= float(capsys.readouterr().out) <= 1


@pytest.mark.parametrize("page", written.PAGES)
def test_links_lead_to_files(page):
    """Links to headings, and to pages that are made with the site, are checked by ``make docs``."""
    for link in re.findall(r"\]\(([^)#\s]+)", written.PAGES[page]):
        assert link.startswith("https://") or ((ROOT / page).parent / link).exists(), link


def test_the_readme_is_short_and_opens_with_two_commands():
    text = written.PAGES["README.md"]
    assert len(text.splitlines()) < 200
    assert written.blocks("README.md")[0] == ("console", "make train\nmake test\n")


def test_tab_completes_choices_and_keys(monkeypatch, capsys):
    def answer(*words):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert ended.value.code == 0
        return capsys.readouterr().out

    (line,) = written.lines('eval "$(metriscope')
    assert "hydra_bash_completion()" in answer(*re.findall(r"\$\(metriscope (.*)\)", line)[0].split())
    (same,) = written.inline(r'eval "\$\(python train')
    assert "hydra_bash_completion()" in answer("train", *re.findall(r"\$\(python train\.py (.*)\)", same)[0].split())
    for program, called in (("python train.py ", ["train"]), ("metriscope train ", [])):
        for typed, word in (("loss=tri", "loss=triplet"), ("optimizer.l", "optimizer.lr=")):
            monkeypatch.setenv("COMP_LINE", f"{program}{typed}")
            assert word in answer(*called, "-sc", "query=bash").split()
    for typed, words in (
        ("metriscope tr", [*cli.COMMANDS]),
        ("metriscope ", [*cli.COMMANDS]),
        ("metriscope data f", []),
    ):
        monkeypatch.setenv("COMP_LINE", typed)
        assert answer("-sc", "query=bash").split() == words
