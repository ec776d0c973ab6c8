"""``metriscope status``: what it prints, what it refuses, what it does not import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fair_studies import write_fair
from study_folders import leave

from metriscope.cli import run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def study(tmp_path):
    for seed, status in enumerate(["finished", "finished", "failed", "running"]):
        leave(tmp_path / "trial" / "digits-mlp" / "triplet-all" / f"seed{seed}-aaaa", status, pid=4242, host="node7")
    return tmp_path / "trial"


def status(*words):
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "metriscope", "status", *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False, env=os.environ,
    )  # fmt: skip


def errors(result):
    return [line for line in result.stderr.splitlines() if not line.startswith("import time:")]


def test_all_runs_and_their_number(study):
    (study / "digits-mlp" / "triplet-all" / "seed1-aaaa" / "run.json").write_text("{")
    result = status(study)
    assert result.returncode == 0
    *rows, last = result.stdout.splitlines()
    assert len(rows) == 5
    assert last == f"{study}: 4 runs: 1 finished, 1 interrupted, 1 failed, 1 broken"
    assert "killed: process 4242 on node7 is gone" in result.stdout
    (line,) = errors(result)
    assert "seed1-aaaa: run.json is not readable" in line
    for heavy in ("torch", "pytorch_lightning", "wandb", "hydra", "matplotlib"):
        assert f"| {heavy}\n" not in result.stderr.replace("|   ", "| ")


def test_only_some(study):
    rows = status(study, "--only", "failed").stdout.splitlines()
    assert [line.split()[1] for line in rows[:-1]] == ["status", "failed"]


def test_a_misspelt_study(study):
    result = status(study.with_name("trail"))
    assert result.returncode == 2
    assert result.stdout == ""
    assert errors(result) == [f"metriscope: {study.with_name('trail')}: no such folder; did you mean 'trial'?"]


def test_help_gives_examples():
    result = status("--help")
    assert result.returncode == 0
    assert "metriscope status outputs/default" in result.stdout


def test_the_comparisons_of_several_data_sets_are_told_one_by_one(tmp_path, capsys):
    made = {"a": write_fair(tmp_path / "1", closed=False), "b": write_fair(tmp_path / "2", trials=2, repeats=1)}
    for name, folder in made.items():
        folder.rename(tmp_path / name)
    assert run("status", [str(tmp_path)]) == 0
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{tmp_path / 'a'}: searching, 3 entries")
    assert last == f"{tmp_path / 'b'}: 4 runs: 4 finished"
