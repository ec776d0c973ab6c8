"""``scripts/loss_compare.py`` sees what differs, and says by how much."""

import math
import subprocess
import sys
from pathlib import Path

import loss_compare
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_differences_are_relative_and_by_column():
    old = {"step": ["0", "1"], "train/loss_step": ["1.0", "2.0"], "val/loss": ["", "4.0"]}
    assert loss_compare.differences(old, old) == {}
    assert loss_compare.differences(old, {**old, "train/more_step": ["1", "2"]}) == {}
    changed = {**old, "train/loss_step": ["1.0", "2.5"], "val/loss": ["", "3.0"]}
    assert loss_compare.differences(old, changed) == {"train/loss_step": 0.2, "val/loss": 0.25}


@pytest.mark.parametrize(
    "cells",
    [["1.0"], ["1.0", ""], ["1.0", "nan"], ["1.0", "inf"], ["", "2.0"]],
    ids=["row", "cell", "nan", "inf", "gap"],
)
def test_what_is_missing_or_not_finite_differs_without_bound(cells):
    old = {"train/loss_step": ["1.0", "2.0"]}
    assert loss_compare.differences(old, {"train/loss_step": cells}) == {"train/loss_step": math.inf}
    assert loss_compare.differences(old, {}) == {"train/loss_step": math.inf}


def test_a_small_difference_is_not_lost_beside_a_missing_row():
    assert loss_compare.differences({"a": ["nan"]}, {"a": ["nan"]}) == {}
    assert loss_compare.differences({"a": ["0.0"]}, {"a": ["1e-12"]}) == {"a": 1.0}


def test_golden_files_are_those_of_the_runs():
    names = {path.stem for path in loss_compare.GOLDEN.glob("*.csv")}
    assert names == set(loss_compare.golden_runs())
    assert len(names) == 12
    assert loss_compare.golden_runs(["margin"], ["float64"]).keys() == {"margin-float64"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["."], "one side with --spread or --save, else two"),
        ([".", ".", "--spread"], "one side with --spread or --save, else two"),
        ([".", ".", "--runs", "tripplet"], "no such run; there are: contrastive-float32"),
        (["no-such-commit", "."], "loss_compare: no-such-commit is no folder and no commit"),
    ],
)
def test_wrong_words_are_one_line(words, line):
    command = [sys.executable, str(SCRIPTS / "loss_compare.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=SCRIPTS.parent)
    assert done.returncode != 0
    assert line in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.processes
def test_a_tree_is_equal_to_itself(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["", ".", ".", "--assert-equal", "--runs", "arcface", "--precisions", "float32"])
    monkeypatch.chdir(SCRIPTS.parent)
    with pytest.raises(SystemExit) as ended:
        loss_compare.main()
    assert ended.value.code == 0
    assert "50 steps, 87 columns: equal to the bit" in capsys.readouterr().out
