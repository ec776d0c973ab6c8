"""``scripts/fault_test.py`` finds its points, strikes once, notices every difference, and holds."""

import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from faults.points import POINTS, QUICK, Missing, Point, by_name
from faults.strikes import KILL, flip
from faults.traces import differences

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.slow
def test_faults_at_a_few_points():
    command = [sys.executable, str(SCRIPTS / "fault_test.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 of them wrong" in done.stdout


@pytest.mark.slow
def test_a_point_that_is_not_reached_is_wrong(tmp_path):
    code = (
        "import dataclasses, sys, faults.points as p, fault_test\n"
        "p.POINTS = (dataclasses.replace(p.POINTS[0], nth=99, faults=('SIGKILL',)),)\n"
        "fault_test.POINTS = p.POINTS\n"
        "sys.argv = ['fault_test.py', '--losses', 'memory']\n"
        "sys.exit(fault_test.main())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=SCRIPTS, capture_output=True, text=True, timeout=280)
    assert done.returncode == 1
    assert "the point is not reached" in done.stdout


def test_every_point_names_a_function_that_is_there():
    for point in POINTS:
        owner, name = point.owner()
        assert callable(getattr(owner, name))
        assert point.when in ("before", "after")
    assert [point.name for point in by_name(QUICK)] == list(QUICK)


@pytest.mark.parametrize(
    "function", ["metriscope.files:replaced", "metriscope.gone:replacing", "metriscope.tracking.history:Gone.log"]
)
def test_a_function_that_is_gone_is_an_error(function):
    with pytest.raises(Missing, match="there is no function"):
        Point("gone", function, "before", [KILL]).owner()
    with pytest.raises(Missing, match="nowhere: no such point"):
        by_name(["nowhere"])


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_point_strikes_once(monkeypatch, tmp_path, when):
    said = []
    module = types.ModuleType("worker")
    module.work = said.append
    monkeypatch.setitem(sys.modules, "worker", module)
    point = Point("work", "worker:work", when, [KILL], nth=2, which=lambda word: word != "other")
    point.patch(lambda: said.append("struck"), tmp_path / "flag")
    for word in ("a", "other", "b", "c"):
        module.work(word)
    struck = ["struck", "b"] if when == "before" else ["b", "struck"]
    assert said == ["a", "other", *struck, "c"]
    module.work = said.append
    point.patch(lambda: said.append("struck again"), tmp_path / "flag")
    module.work("d")
    module.work("e")
    assert "struck again" not in said


NAN = float("nan")


@pytest.mark.parametrize(
    ("one", "other", "places"),
    [
        ({"a": torch.tensor([1.0, NAN])}, {"a": torch.tensor([1.0, NAN])}, []),
        ({"a": torch.tensor([0.0])}, {"a": torch.tensor([-0.0])}, ["a"]),
        ({"a": torch.zeros(2)}, {"a": torch.zeros(2, dtype=torch.float64)}, ["a"]),
        ({"a": torch.zeros(2)}, {"a": torch.zeros(2, 1)}, ["a"]),
        ({"a": torch.zeros(2), "b": 1}, {"a": torch.zeros(2), "c": 1}, ["b (missing)", "c (added)"]),
        ({"a": [1, {"b": 2.0}]}, {"a": [1, {"b": 2}]}, ["a[1].b"]),
        ({"a": [1, 2]}, {"a": [1]}, ["a"]),
        ({"a": NAN}, {"a": NAN}, []),
        ({"a": None}, None, [""]),
    ],
)
def test_every_difference_is_noticed(one, other, places):
    assert list(differences(one, other)) == places


def test_a_flipped_bit_changes_one_weight(tmp_path):
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"embedder.weight": torch.ones(4), "objective.memory": torch.ones(9)}}, path)
    flip(path)
    changed = torch.load(path, weights_only=True)["state_dict"]
    assert changed["embedder.weight"].tolist() == [1.5, 1.0, 1.0, 1.0]
    assert (changed["objective.memory"] == 1).all()
