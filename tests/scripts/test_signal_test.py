"""``scripts/signal_test.py`` holds, and would notice if it did not."""

import subprocess
import sys
from pathlib import Path

import pytest
from signal_test import Ending, phases, turns

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "signal_test.py"


@pytest.mark.slow
def test_signals_at_random_moments():
    command = [sys.executable, str(SCRIPT), "--count", "4", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 signals, " in done.stdout
    assert ", 0 wrong; " in done.stdout


@pytest.mark.parametrize(
    ("code", "lines", "record", "wrong"),
    [
        (130, 1, None, ""),
        (130, 1, "interrupted", ""),
        (130, 1, "finished", ""),
        (0, 0, "finished", ""),
        (0, 0, "running", "exit code 0"),
        (0, 1, "finished", "exit code 0"),
        (130, 1, "running", "the record says running"),
        (130, 1, "failed", "the record says failed"),
        (130, 12, "interrupted", "12 lines"),
        (130, 0, "interrupted", "0 lines"),
        (-15, 0, None, "exit code -15"),
        (1, 1, "failed", "exit code 1"),
    ],
)
def test_what_is_wrong(code, lines, record, wrong):
    assert Ending(code, ["a line"] * lines, record).wrong == wrong


def test_moments_lie_in_every_phase_as_often_as_their_shares_say():
    found = [phase.name for phase in turns(phases(), 20)]
    assert {phase.name: found.count(phase.name) for phase in phases()} == {
        "start-up": 7,
        "training": 5,
        "report": 5,
        "end": 3,
    }
    assert set(found[:4]) == set(found)
